package code

import (
	"path"
	"regexp"
	"strings"

	"polity.run"
)

// rule is a pattern of dangerous code or an unsafe setting.
type rule struct {
	ext      string // extensions, with spaces between; "" for every text file
	hints    string // words in lower case: a line without any of them cannot match
	re       *regexp.Regexp
	unless   *regexp.Regexp // a line that matches this is safe
	severity polity.Severity
	text     string // a sentence's subject and verb: what the lines do
}

const (
	jsExt     = ".js .jsx .mjs .cjs .ts .tsx .mts .cts .vue .svelte"
	configExt = ".yml .yaml .toml .ini .properties .conf .cfg .env .tf"
	shellExt  = ".sh .bash .yml .yaml .mk Dockerfile Makefile Containerfile"
)

var rules = []rule{
	// Transport.
	{".go", "insecureskipverify", re(`\bInsecureSkipVerify:\s*true|\bInsecureSkipVerify\s*=\s*true`), nil, polity.High, "TLS certificates are accepted without verification"},
	{".go", "insecureignorehostkey", re(`\bssh\.InsecureIgnoreHostKey\(`), nil, polity.High, "SSH host keys are accepted without verification"},
	{".py", "verify", re(`\bverify\s*=\s*False\b`), nil, polity.High, "TLS certificates are accepted without verification"},
	{".py", "_create_unverified_context cert_none check_hostname", re(`\b_create_unverified_context\b|\bCERT_NONE\b|\bcheck_hostname\s*=\s*False\b`), nil, polity.High, "TLS certificates are accepted without verification"},
	{jsExt, "rejectunauthorized node_tls_reject", re(`\brejectUnauthorized\s*:\s*false\b|NODE_TLS_REJECT_UNAUTHORIZED\W{1,6}0`), nil, polity.High, "TLS certificates are accepted without verification"},
	{".java .kt .scala", "hostname trustall insecuretrust", re(`\b(?:NoopHostnameVerifier|ALLOW_ALL_HOSTNAME_VERIFIER|TrustAllStrategy|InsecureTrustManagerFactory)\b`), re(`^\s*import\b`), polity.High, "TLS certificates are accepted without verification"},
	{".rb", "verify_none", re(`\bVERIFY_NONE\b`), nil, polity.High, "TLS certificates are accepted without verification"},
	{".php", "curlopt_ssl", re(`CURLOPT_SSL_VERIFY(?:PEER|HOST)\s*(?:,|=>)\s*(?:false|0)`), nil, polity.High, "TLS certificates are accepted without verification"},
	{".rs", "danger_accept", re(`\bdanger_accept_invalid_(?:certs|hostnames)\(true\)`), nil, polity.High, "TLS certificates are accepted without verification"},
	{".cs", "validationcallback", re(`ServerCertificate(?:Custom)?ValidationCallback\s*\+?=.*=>\s*true`), nil, polity.High, "TLS certificates are accepted without verification"},

	// Running what was computed.
	{".py", "eval( exec(", re(`(?:^|[^\w.])(?:eval|exec)\(\s*[^"'\s)]`), re(`\bdef\s|literal_eval`), polity.Medium, "Text is run as code (eval or exec)"},
	{jsExt, "eval( function(", re(`(?:^|[^\w.$])eval\(\s*[^"'\s)]|\bnew Function\(\s*[^"')\s]`), re(`\bfunction\s+eval\b`), polity.Medium, "Text is run as code (eval or Function)"},
	{".rb", "eval", re(`(?:^|[^\w.])(?:eval|instance_eval|class_eval)\s*\(\s*[^"'\s)]`), nil, polity.Medium, "Text is run as code (eval)"},
	{".php", "eval assert exec( system passthru popen proc_open", re(`(?:^|[^\w>])(?:eval|assert)\(\s*\$|\b(?:shell_exec|system|passthru|popen|proc_open)\([^)]*\$`), nil, polity.High, "Computed text is run as code or as a command"},
	{".py", "shell", re(`\bshell\s*=\s*True\b`), nil, polity.Medium, "Commands are run through a shell (shell=True)"},
	{".py", "os.system os.popen", re(`\bos\.(?:system|popen)\(\s*(?:f["']|[^"'\s)]|["'][^"']*["']\s*[%+.])`), nil, polity.Medium, "Computed commands are run through a shell"},
	{".go", "exec.command", re(`\bexec\.Command(?:Context)?\((?:\w+,\s*)?"(?:/bin/)?(?:ba|z)?sh",\s*"-c",\s*[^")\s]`), nil, polity.Medium, "Computed commands are run through a shell"},
	{jsExt, "exec( execsync(", re("(?:\\bchild_process\\.|(?:^|[^\\w.$]))exec(?:Sync)?\\(\\s*(?:`[^`]*\\$\\{|[\"'][^\"']*[\"']\\s*\\+|[a-z]\\w*\\s*\\+)"), nil, polity.Medium, "Computed commands are run through a shell"},
	{".java .kt .scala", "getruntime", re(`getRuntime\(\)\.exec\(\s*[^"\s)]`), nil, polity.Medium, "Computed commands are run"},
	{".c .h .cc .cpp .cxx", "system( popen(", re(`(?:^|[^\w.>:])(?:system|popen)\(\s*[^"\s)]`), nil, polity.Medium, "Computed commands are run through a shell"},

	// Reading what was sent.
	{".py", "pickle dill shelve marshal joblib", re(`\b(?:c?[pP]ickle|dill|shelve|marshal)\.(?:loads?|open)\(|\bjoblib\.load\(`), nil, polity.Medium, "Data is read in a form that can run code (pickle and its kin)"},
	{".py", "yaml.load", re(`\byaml\.(?:load|load_all)\(`), re(`SafeLoader|CSafeLoader|BaseLoader`), polity.Medium, "YAML is read with a loader that can run code"},
	{".java .kt .scala", "objectinputstream", re(`\bnew ObjectInputStream\(`), nil, polity.Medium, "Data is read in a form that can run code (Java serialization)"},
	{".php", "unserialize", re(`\bunserialize\(\s*\$`), re(`allowed_classes`), polity.Medium, "Data is read in a form that can run code (unserialize)"},
	{".rb", "marshal yaml", re(`\bMarshal\.(?:load|restore)\(|\bYAML\.(?:unsafe_load|load)\(`), re(`safe`), polity.Medium, "Data is read in a form that can run code (Marshal or YAML)"},

	// Queries and pages.
	{".go", "select insert update delete", re(`fmt\.Sprintf\(\s*["\x60]\s*(?i:select\s.+\sfrom|insert\s+into|update\s+\S+\s+set|delete\s+from)\b[^"\x60]*(?:=|like|values|in)\s*\(?\s*'?%[svq]`), nil, polity.Medium, "SQL is put together from text and values"},
	{".go .java .kt .scala .cs " + jsExt, "select insert update delete", re(`["'\x60]\s*(?i:select\s[^"']+\sfrom|insert\s+into|update\s+\S+\s+set|delete\s+from)\b[^"\x60]*["'\x60]\s*\+\s*[A-Za-z_]`), nil, polity.Medium, "SQL is put together from text and values"},
	{".py", "select insert update delete", re(`["']\s*(?i:select\s[^"]+\sfrom|insert\s+into|update\s+\S+\s+set|delete\s+from)\b[^"]*["']\s*(?:\+\s*\w|%\s*[\w(]|\.format\()`), nil, polity.Medium, "SQL is put together from text and values"},
	{".py", "select insert update delete", re(`\bf["']{1,3}\s*(?i:select\s.+\sfrom|insert\s+into|update\s+\S+\s+set|delete\s+from)\b.*(?:=|(?i:\blike|\bin))\s*\(?\s*'?\{`), nil, polity.Medium, "SQL is put together from text and values"},
	{".php", "select insert update delete", re(`["']\s*(?i:select\s.+\sfrom|insert\s+into|update\s+\S+\s+set|delete\s+from)\b.*(?:\$_(?:GET|POST|REQUEST)|["']\s*\.\s*\$)`), nil, polity.High, "SQL is put together from text and values"},
	{jsExt, "dangerously v-html @html", re(`\bdangerouslySetInnerHTML\b|\bv-html=|\{@html\s`), nil, polity.Low, "HTML is put into pages as it is"},

	// Cryptography.
	{"", "passw", re(`(?i)(?:md5|sha1)\w*[.(].*passw|passw.*\b(?:md5|sha1)(?:\.New|\.Sum|sum|\()`), nil, polity.High, "Passwords are hashed by MD5 or SHA-1, which are too fast for them"},
	{".java .kt .scala", "getinstance", re(`getInstance\(\s*"(?:DES|DESede|RC4|[^"]*/ECB/[^"]*)"`), nil, polity.Medium, "A broken cipher or mode is used (DES, RC4 or ECB)"},
	{".go", "des. rc4.", re(`\b(?:des\.New(?:TripleDES)?Cipher|rc4\.NewCipher)\(`), nil, polity.Medium, "A broken cipher is used (DES or RC4)"},

	// Memory.
	{".c .h .cc .cpp .cxx", "gets", re(`(?:^|[^\w.>])gets\(`), nil, polity.High, "Input is read without a limit (gets)"},
	{".c .h .cc .cpp .cxx", "strcpy strcat sprintf", re(`(?:^|[^\w.>:])(?:strcpy|strcat|sprintf|vsprintf)\(`), nil, polity.Low, "Text is written without a limit (strcpy, strcat, sprintf)"},

	// Rights and settings.
	{shellExt, "chmod", re(`\bchmod\s+(?:-\w+\s+)*(?:0?777|a\+rwx|ugo\+rwx)\b`), nil, polity.Medium, "Everybody may write to files (chmod 777)"},
	{".go", "777", re(`\b(?:os|root)\.(?:Chmod|Mkdir|MkdirAll|WriteFile|OpenFile)\(.*\b0o?777\b`), nil, polity.Low, "Files are made that everybody may write to, as far as the umask allows"},
	{".py", "chmod", re(`\bos\.chmod\(.*0o?777\b`), nil, polity.Medium, "Everybody may write to files (chmod 777)"},
	{shellExt, "curl wget", re(`\b(?:curl|wget)\b[^|#]*\|\s*(?:sudo\s+(?:-\w+\s+)*)?(?:ba|z|da)?sh\b`), nil, polity.Medium, "A script is fetched from a network and run unseen"},
	{configExt, "http://", re(`\bhttp://[A-Za-z0-9.-]+`), re(`http://(?:localhost|127\.|0\.0\.0\.0|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|host\.docker|[\w-]+(?:[:/"'\s]|$)|[\w.-]*\.(?:local|internal|svc|test|example|localhost)\b|[\w.-]*example\.|www\.w3\.org|[\w.-]*apache\.org/licenses|schemas?\.|json-schema)`), polity.Low, "Addresses are used without TLS (http://)"},
	{".yml .yaml", "privileged", re(`^\s*(?:-\s+)?privileged:\s*true\b`), nil, polity.High, "Containers run with all rights of the host (privileged)"},
	{".yml .yaml", "host", re(`^\s*(?:hostNetwork|hostPID|hostIPC):\s*true\b`), nil, polity.Medium, "Containers share the host's network or processes"},
	{".yml .yaml", "write-all", re(`^\s*permissions:\s*write-all\b`), nil, polity.Medium, "A workflow has every right to write"},
	{".py", "debug", re(`\.run\(.*\bdebug\s*=\s*True|^\s*DEBUG\s*=\s*True\b`), nil, polity.Medium, "Debugging is switched on, which shows internals to visitors"},
	{"", "access-control-allow-origin", re(`(?i)Access-Control-Allow-Origin["'\s:,=]{1,6}\*`), nil, polity.Low, "Every site may read the answers (a CORS origin of *)"},
}

func re(s string) *regexp.Regexp { return regexp.MustCompile(s) }

// applies says whether the rule is about files of this name.
func (r *rule) applies(name string) bool {
	if r.ext == "" {
		return languageOf(name) != nil
	}
	base := path.Base(name)
	for _, e := range strings.Fields(r.ext) {
		if path.Ext(base) == e || base == e || e[0] != '.' && strings.HasPrefix(base, e+".") {
			return true
		}
	}
	return false
}

// holds says whether the line is an instance of the rule. Low is the line in lower case.
func (r *rule) holds(line, low string) bool {
	return containsAny(low, r.hints) && r.re.MatchString(line) && (r.unless == nil || !r.unless.MatchString(line))
}
