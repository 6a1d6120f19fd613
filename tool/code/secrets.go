package code

import (
	"math"
	"path"
	"regexp"
	"strings"

	"polity.run"
)

// secret is a pattern of secrets. The first group of the expression that matched is the value.
type secret struct {
	what     string
	hints    string // words in lower case: a line without any of them cannot match
	re       *regexp.Regexp
	severity polity.Severity
	guessed  bool // the form alone proves nothing: the value has to look random
}

var secretPatterns = []secret{
	{"an AWS access key", "akia asia", regexp.MustCompile(`\b((?:AKIA|ASIA)[0-9A-Z]{16})\b`), polity.Critical, false},
	{"an AWS secret key", "secret", regexp.MustCompile(`(?i)aws_?secret_?(?:access_?)?key\W{1,6}([A-Za-z0-9/+=]{40})(?:\W|$)`), polity.Critical, false},
	{"a GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", regexp.MustCompile(`\b((?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,}))\b`), polity.Critical, false},
	{"a GitLab token", "glpat-", regexp.MustCompile(`\b(glpat-[\w-]{20,})\b`), polity.Critical, false},
	{"a Slack token", "xox", regexp.MustCompile(`\b(xox[abeprs]-[A-Za-z0-9-]{10,})`), polity.Critical, false},
	{"a Slack web hook", "hooks.slack", regexp.MustCompile(`hooks\.slack\.com/services/(T\w{5,20}/B\w{5,20}/\w{15,40})`), polity.High, false},
	{"a Google API key", "aiza", regexp.MustCompile(`\b(AIza[0-9A-Za-z_-]{35})`), polity.High, false},
	{"a Stripe key", "k_live_", regexp.MustCompile(`\b([sr]k_live_[0-9A-Za-z]{20,})`), polity.Critical, false},
	{"a key of a model vendor", "sk-", regexp.MustCompile(`\b(sk-(?:ant|proj|svcacct|or)-[\w-]{20,})`), polity.Critical, false},
	{"an npm token", "npm_ _authtoken", regexp.MustCompile(`\b(npm_[A-Za-z0-9]{36})\b|_authToken\s*=\s*([0-9a-fA-F-]{30,})`), polity.Critical, false},
	{"a SendGrid key", "sg.", regexp.MustCompile(`\b(SG\.[\w-]{22}\.[\w-]{43})`), polity.Critical, false},
	{"a password in an address", "://", regexp.MustCompile(`\b[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@'"<>{}$]*:([^/\s:@'"<>{}$]{4,})@[\w\[]`), polity.High, true},
	{"a literal that looks like a secret", "pass pwd secret token key credential", regexp.MustCompile(`(?i)(?:passw(?:or)?d|passphrase|pwd|secret|token|api_?key|access_?key|private_?key|credential)s?\w{0,12}["']?\s*(?:=>|:=|[:=])\s*["'\x60]([^"'\x60\s]{8,})["'\x60]`), polity.High, true},
}

// unquoted finds secrets in files whose values need no quotes.
var unquoted = secret{"a setting that looks like a secret", "pass pwd secret token key",
	regexp.MustCompile(`(?i)^\s*(?:export\s+|-\s+)?[\w.-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|api_?key|access_?key|private_?key)[\w.-]*\s*[=:]\s*([^\s"'#]{8,})\s*$`),
	polity.High, true}

// keyBegin begins a private key in PEM form. What follows it is the secret.
var (
	keyBegin = regexp.MustCompile(`-----BEGIN ((?:[A-Z0-9]+ )*)PRIVATE KEY(?: BLOCK)?-----`)
	keyBody  = regexp.MustCompile(`^\s*["'\x60+#/*]*\s*(?:\\n|[A-Za-z0-9+/=]{40,}|(?:Proc-Type|DEK-Info|Version|Comment): )`)
)

// keyHint is in every line that keyBegin matches.
const keyHint = "PRIVATE KEY"

// leak is a secret on a line. It holds no part of the value.
type leak struct {
	what     string
	severity polity.Severity
}

// leaks returns the secrets of a line and what may be shown of it: what stands before the first of them.
func leaks(line string, settings bool) (found []leak, shown string) {
	line = line[:min(len(line), secretLineMax)]
	low := strings.ToLower(line)
	end := len(line)
	for i := range secretPatterns {
		end = secretPatterns[i].search(line, low, &found, end)
	}
	if settings {
		end = unquoted.search(line, low, &found, end)
	}
	if len(found) > 1 {
		found = found[:1] // a value has one name: the most exact, which comes first
	}
	if strings.Contains(line, keyHint) {
		if m := keyBegin.FindStringIndex(line); m != nil {
			end = min(end, m[1])
		}
	}
	return found, line[:end]
}

// secretLineMax is how much of a line is searched.
const secretLineMax = 4096

// search adds what the pattern finds and returns where the first value begins, or end.
func (s *secret) search(line, low string, found *[]leak, end int) int {
	if !containsAny(low, s.hints) {
		return end
	}
	for _, m := range s.re.FindAllStringSubmatchIndex(line, -1) {
		for g := 2; g < len(m); g += 2 {
			if m[g] < 0 {
				continue
			}
			value := line[m[g]:m[g+1]]
			if isPlaceholder(value) || s.guessed && !looksRandom(line[m[0]:m[g]], value) {
				continue
			}
			*found = append(*found, leak{s.what, s.severity})
			end = min(end, m[g])
		}
	}
	return end
}

// containsAny says whether s contains one of the words, which stand with spaces between them. It spares
// most lines the regular expressions. No words are contained in everything.
func containsAny(s, words string) bool {
	for words != "" {
		word, rest, _ := strings.Cut(words, " ")
		if strings.Contains(s, word) {
			return true
		}
		if rest == "" {
			return false
		}
		words = rest
	}
	return true
}

// beforeSecret returns what may be shown of a line.
func beforeSecret(line string) string {
	found, shown := leaks(line, true)
	if len(found) == 0 && len(shown) == min(len(line), secretLineMax) {
		return line
	}
	return shown
}

var placeholder = regexp.MustCompile(`(?i)example|changeme|change_me|change-me|placeholder|your|dummy|fake|sample|redacted|xxxx|\*\*\*|\.\.\.|todo|<|>|\$\{|\{\{|%\(|%s|%v|process\.env|environ|getenv|secretref|vault:|0000000|1234567|abcdefg`)

// isPlaceholder says whether a value says itself that it is none.
func isPlaceholder(v string) bool {
	return placeholder.MatchString(v) || strings.HasPrefix(v, "$") || strings.HasPrefix(v, "@")
}

// What a random value looks like.
const (
	randomBits   = 3.3 // entropy of a character
	passwordBits = 2.5
	randomLen    = 12
)

var (
	words     = regexp.MustCompile(`^[A-Za-z]+(?:[-_./: ]?[A-Za-z]+)*\d{0,2}$`)
	dotted    = regexp.MustCompile(`^[\w$]+(?:\.[\w$]+(?:\(\))?|\[[\w"']*\])+$|\(|^https?:|^/|^\.`)
	isPassKey = regexp.MustCompile(`(?i)passw|pwd|passphrase|://`)
)

// looksRandom says whether a value is more like a secret than like a name, a path or an expression.
func looksRandom(key, value string) bool {
	if words.MatchString(value) || dotted.MatchString(value) {
		return false
	}
	letters := strings.ContainsAny(strings.ToLower(value), "abcdefghijklmnopqrstuvwxyz")
	digits := strings.ContainsAny(value, "0123456789")
	if isPassKey.MatchString(key) {
		return letters && (digits || strings.ContainsAny(value, "!@#%^&*+?")) && entropy(value) >= passwordBits
	}
	return letters && digits && len(value) >= randomLen && entropy(value) >= randomBits
}

// entropy is the number of bits that a character of s carries, by how often each occurs.
func entropy(s string) float64 {
	if s == "" {
		return 0
	}
	var seen [256]int
	for i := range len(s) {
		seen[s[i]]++
	}
	bits := 0.0
	for _, n := range seen {
		if n > 0 {
			p := float64(n) / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}

// holdsKey says whether a private key begins on line i.
func (l lines) holdsKey(i int) (shown string, encrypted, ok bool) {
	if !strings.Contains(l[i], keyHint) {
		return "", false, false
	}
	m := keyBegin.FindStringSubmatchIndex(l[i])
	if m == nil {
		return "", false, false
	}
	rest := l[i][m[1]:]
	next := ""
	if i+1 < len(l) {
		next = l[i+1]
	}
	if !strings.HasPrefix(strings.TrimSpace(rest), `\n`) && !keyBody.MatchString(rest) && !keyBody.MatchString(next) {
		return "", false, false
	}
	return l[i][:m[1]], strings.Contains(l[i][m[2]:m[3]], "ENCRYPTED"), true
}

// secretFiles are files that hold secrets by their name.
var secretFiles = []struct {
	re   *regexp.Regexp
	what string
}{
	{regexp.MustCompile(`(?:^|/)(?:id_rsa|id_dsa|id_ecdsa|id_ed25519)$`), "an SSH private key"},
	{regexp.MustCompile(`(?i)\.(?:p12|pfx|jks|keystore)$`), "a key store"},
	{regexp.MustCompile(`(?i)(?:^|/)(?:kubeconfig(?:\.ya?ml)?|\.kube/config)$`), "a Kubernetes configuration with credentials"},
	{regexp.MustCompile(`(?:^|/)(?:\.netrc|_netrc|\.pgpass|\.htpasswd|\.pypirc)$`), "a file of passwords"},
	{regexp.MustCompile(`(?:^|/)terraform\.tfstate(?:\.backup)?$`), "a Terraform state, which holds secrets in plain text"},
}

// settingsExt are files whose values need no quotes.
var settingsExt = map[string]bool{".env": true, ".properties": true, ".ini": true, ".cfg": true, ".conf": true, ".yml": true, ".yaml": true, ".toml": true, ".tfvars": true}

func isSettings(name string) bool {
	return settingsExt[strings.ToLower(path.Ext(name))] || isEnv(name)
}

var envFile = regexp.MustCompile(`(?:^|/)\.env(?:\.[\w.-]+)?$`)

// isEnv says whether a file is an environment file that is meant to be private.
func isEnv(name string) bool {
	if !envFile.MatchString(name) {
		return false
	}
	low := strings.ToLower(name)
	for _, public := range []string{"example", "sample", "template", "dist", "defaults", "schema", "test"} {
		if strings.HasSuffix(low, "."+public) {
			return false
		}
	}
	return true
}
