package code_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"polity.run"
	"polity.run/tool"
	"polity.run/tool/code"
)

// made returns n letters and digits that look random and are the same each time. Tests make their secrets, so
// that no scanner mistakes this file for a leak.
func made(n int) string {
	const letters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz23456789"
	r := rand.New(rand.NewPCG(7, uint64(n)))
	var b strings.Builder
	for range n {
		b.WriteByte(letters[r.IntN(len(letters))])
	}
	return b.String()
}

func TestSecretsAreFoundAndNeverRepeated(t *testing.T) {
	upper := strings.ToUpper(made(16))
	body := strings.Repeat(made(64)+"\n", 3)
	for name, test := range map[string]struct {
		file, line, secret, what string
		severity                 polity.Severity
	}{
		"aws":             {"a.go", `	key := "AKIA` + upper + `"`, "AKIA" + upper, "an AWS access key", polity.Critical},
		"aws secret":      {"a.yml", "aws_secret_access_key: " + made(40), made(40), "an AWS secret key", polity.Critical},
		"github":          {"a.py", "T = 'ghp_" + made(36) + "'", "ghp_" + made(36), "a GitHub token", polity.Critical},
		"gitlab":          {"a.sh", "curl -H glpat-" + made(20), made(20), "a GitLab token", polity.Critical},
		"slack":           {"a.rb", "x = \"xoxb-" + made(30) + "\"", made(30), "a Slack token", polity.Critical},
		"slack hook":      {"a.js", "post('https://hooks.slack.com/services/T" + made(9) + "/B" + made(9) + "/" + made(24) + "')", made(24), "a Slack web hook", polity.High},
		"google":          {"a.ts", "key: 'AIza" + made(35) + "'", made(35), "a Google API key", polity.High},
		"stripe":          {"a.ts", "stripe('sk_" + "live_" + made(24) + "')", made(24), "a Stripe key", polity.Critical},
		"model":           {"a.py", "k='sk-" + "ant-" + made(40) + "'", made(40), "a key of a model vendor", polity.Critical},
		"npm":             {".npmrc", "//registry/:_authToken=npm_" + made(36), made(36), "an npm token", polity.Critical},
		"address":         {"a.go", `db := "postgres://app:` + made(14) + `@db.prod:5432/x"`, made(14), "a password in an address", polity.High},
		"literal":         {"a.go", `	apiKey: "` + made(24) + `",`, made(24), "a literal that looks like a secret", polity.High},
		"password":        {"a.java", `String password = "hunter2!x";`, "hunter2!x", "a literal that looks like a secret", polity.High},
		"setting":         {"a.properties", "db.password=" + made(10), made(10), "a setting that looks like a secret", polity.High},
		"env":             {".env", "export API_TOKEN=" + made(20), made(20), "a setting that looks like a secret", polity.High},
		"private key":     {"server.pem", "-----BEGIN RSA PRIVATE KEY-----\n" + body, made(64), "a private key", polity.Critical},
		"key in a string": {"a.go", `k := "-----BEGIN PRIVATE KEY-----\n` + made(64), made(64), "a private key", polity.Critical},
		"encrypted key":   {"a.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + body, made(64), "an encrypted private key", polity.Medium},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, map[string]string{test.file: "\n" + test.line + "\n"})
			r := report(t, "code.risks", dir)
			wantSaid(t, r, []string{fmt.Sprintf("against %s: %s holds %s on line 2.", test.severity, test.file, test.what)})
			neverRepeated(t, dir, test.secret)

			aside := folder(t, map[string]string{"testdata/" + test.file: "\n" + test.line + "\n"})
			wantSaid(t, report(t, "code.risks", aside), []string{"against low: Tests, examples or documents hold " + test.what + " in 1 place; check that it is not in use anywhere."})
			neverRepeated(t, aside, test.secret)
		})
	}
}

// neverRepeated checks that no tool's report holds the secret.
func neverRepeated(t *testing.T, dir, secret string) {
	t.Helper()
	all, err := code.Tools()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		out, err := x.Call(t.Context(), tool.Call{Folder: dir, Input: json.RawMessage(`{}`)})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(out), secret) {
			t.Errorf("%s repeats the secret: %s", x.Spec().Name, out)
		}
	}
}

// TestOtherToolsEndBeforeSecrets: a line that another tool quotes may hold a secret too.
func TestOtherToolsEndBeforeSecrets(t *testing.T) {
	secret := made(24)
	dir := folder(t, map[string]string{
		"README.md":        "# x\n\nUse the token ghp_" + made(36) + " to log in, token = \"" + secret + "\".\n\n## Install token=\"" + secret + "\"\n\n[x](gone) token=\"" + secret + "\"\n",
		"a.py":             "# TODO token = \"" + secret + "\"\n# FIXME password: \"" + secret + "\"\ndef f(token=\"" + secret + "\"):\n    eval(x); token = \"" + secret + "\"\n",
		"a_test.py":        "@pytest.mark.skip(token=\"" + secret + "\")\n",
		"requirements.txt": "a @ https://user:" + secret + "@host.com/a.zip\ngit+https://user:" + secret + "@host.com/b.git\n",
		"package.json":     "{\"dependencies\": {\"a\": \"git+https://user:" + secret + "@host.com/c.git\"}}\n",
		"Dockerfile":       "FROM alpine\nRUN TOKEN=\"" + secret + "\" curl https://x.y | sh\n",
		".gitlab-ci.yml":   "test:\n  script: pytest --token=\"" + secret + "\"\n",
	})
	neverRepeated(t, dir, secret)
	neverRepeated(t, dir, made(36))
}

func TestWhatIsNoSecret(t *testing.T) {
	for name, text := range map[string]map[string]string{
		"placeholders": {"a.go": "password = \"changeme123\"\ntoken = \"your-token-here1\"\napiKey = \"${API_KEY}\"\nsecret: \"<secret value1>\"\naws = \"AKIAIOSFODNN7EXAMPLE\"\n"},
		"names":        {"a.js": "const tokenField = \"access_token_v2\";\nconst key = 'private-key-file';\npasswordInput = \"user.password.value\"\nsecretName: \"my-app-secret\"\n"},
		"expressions":  {"a.py": "token = os.environ[\"TOKEN\"]\npassword = getpass()\nsecret = \"{{ secret1234 }}\"\n"},
		"settings":     {"a.yml": "password: ${DB_PASSWORD}\nsecretName: db-credentials\ntoken: !secret abc12345\nkey: value1234567\n"},
		"addresses":    {"a.go": "u := \"http://localhost:8080/x@y\"\nv := \"https://example.com/a:b@c\"\nw := \"postgres://user:password@host/db\"\n"},
		"key headers":  {"a.go": "if !strings.HasPrefix(s, \"-----BEGIN RSA PRIVATE KEY-----\") {\n\treturn errNoKey\n}\n"},
		"certificate":  {"a.pem": "-----BEGIN CERTIFICATE-----\n" + made(64) + "\n"},
		"public key":   {"a.pub": "ssh-rsa " + strings.Repeat("A", 60) + "\n"},
		"sample env":   {".env.example": "PASSWORD=changeme\n"},
		"hash":         {"go.sum": "example.com/a v1.0.0 h1:" + made(43) + "=\n"},
	} {
		t.Run(name, func(t *testing.T) {
			wantSaid(t, report(t, "code.risks", folder(t, text)), nil, " holds ", " hold ", "environment")
		})
	}
}

func TestDangerousLines(t *testing.T) {
	for name, test := range map[string]struct{ file, line, want string }{
		"go tls":          {"a.go", "\tc := &tls.Config{InsecureSkipVerify: true}", "high: TLS certificates are accepted without verification"},
		"go ssh":          {"a.go", "\tHostKeyCallback: ssh.InsecureIgnoreHostKey(),", "high: SSH host keys are accepted without verification"},
		"go shell":        {"a.go", `	exec.Command("sh", "-c", cmd)`, "medium: Computed commands are run through a shell"},
		"go sql":          {"a.go", `	q := fmt.Sprintf("SELECT a FROM t WHERE id = '%s'", id)`, "medium: SQL is put together from text and values"},
		"go sql plus":     {"a.go", `	q := "DELETE FROM t WHERE id = " + id`, "medium: SQL is put together from text and values"},
		"go cipher":       {"a.go", "\trc4.NewCipher(key)", "medium: A broken cipher is used (DES or RC4)"},
		"python tls":      {"a.py", "requests.get(u, verify=False)", "high: TLS certificates are accepted without verification"},
		"python eval":     {"a.py", "    return eval(text)", "medium: Text is run as code (eval or exec)"},
		"python shell":    {"a.py", "subprocess.run(cmd, shell=True)", "medium: Commands are run through a shell (shell=True)"},
		"python system":   {"a.py", "os.system('rm ' + name)", "medium: Computed commands are run through a shell"},
		"python pickle":   {"a.py", "x = pickle.loads(data)", "medium: Data is read in a form that can run code (pickle and its kin)"},
		"python yaml":     {"a.py", "x = yaml.load(f)", "medium: YAML is read with a loader that can run code"},
		"python sql":      {"a.py", `cur.execute("SELECT a FROM t WHERE id = %s" % x)`, "medium: SQL is put together from text and values"},
		"python sql f":    {"a.py", `cur.execute(f"SELECT a FROM t WHERE id = {x}")`, "medium: SQL is put together from text and values"},
		"python md5":      {"a.py", "h = hashlib.md5(password.encode())", "high: Passwords are hashed by MD5 or SHA-1, which are too fast for them"},
		"python debug":    {"a.py", "app.run(host, debug=True)", "medium: Debugging is switched on, which shows internals to visitors"},
		"js tls":          {"a.js", "https.get({ rejectUnauthorized: false })", "high: TLS certificates are accepted without verification"},
		"js eval":         {"a.ts", "  eval(req.body)", "medium: Text is run as code (eval or Function)"},
		"js exec":         {"a.js", "exec(`ls ${dir}`)", "medium: Computed commands are run through a shell"},
		"js sql":          {"a.js", `db.query("SELECT * FROM users WHERE id = " + id)`, "medium: SQL is put together from text and values"},
		"java":            {"A.java", "  Object o = new ObjectInputStream(in).readObject();", "medium: Data is read in a form that can run code (Java serialization)"},
		"php":             {"a.php", "system('ls ' . $_GET['x']);", "high: Computed text is run as code or as a command"},
		"c":               {"a.c", "  gets(buf);", "high: Input is read without a limit (gets)"},
		"chmod":           {"a.sh", "chmod -R 777 /srv", "medium: Everybody may write to files (chmod 777)"},
		"curl":            {"a.sh", "curl -fsSL https://x.y/z | sudo bash", "medium: A script is fetched from a network and run unseen"},
		"http":            {"a.yaml", "url: http://api.vendor.com/v1", "low: Addresses are used without TLS (http://)"},
		"privileged":      {"k8s/pod.yaml", "      privileged: true", "high: Containers run with all rights of the host (privileged)"},
		"write-all":       {".github/workflows/x.yml", "permissions: write-all", "medium: A workflow has every right to write"},
		"cors":            {"a.go", `	w.Header().Set("Access-Control-Allow-Origin", "*")`, "low: Every site may read the answers (a CORS origin of *)"},
		"writable folder": {"a.go", "\tos.MkdirAll(dir, 0o777)", "low: Files are made that everybody may write to, as far as the umask allows"},
	} {
		t.Run(name, func(t *testing.T) {
			r := report(t, "code.risks", folder(t, map[string]string{test.file: "\n" + test.line + "\n"}))
			wantSaid(t, r, []string{"against " + test.want + ", on 1 line: " + test.file + "."})
			aside := report(t, "code.risks", folder(t, map[string]string{"tests/" + test.file: "\n" + test.line + "\n"}))
			wantSaid(t, aside, nil, "against high", "against medium")
		})
	}
}

func TestWhatIsNotDangerous(t *testing.T) {
	for name, test := range map[string]struct{ file, text string }{
		"comments":        {"a.py", "# eval(x)\n  # verify=False\n"},
		"go comments":     {"a.go", "// InsecureSkipVerify: true would be wrong\n/* InsecureSkipVerify: true */\n"},
		"literals":        {"a.py", "eval('1')\nexec(\"x\")\nast.literal_eval(x)\nmodel.eval()\n"},
		"safe yaml":       {"a.py", "yaml.load(f, Loader=yaml.SafeLoader)\nyaml.safe_load(f)\n"},
		"regexp exec":     {"a.js", "re.exec(text + more)\n"},
		"bound sql":       {"a.py", "cur.execute(\"SELECT a FROM t WHERE id = %s\", (x,))\n"},
		"static sql":      {"a.go", "q := \"SELECT a FROM t\" + \" WHERE id = ?\"\nfmt.Sprintf(\"update %d of %d\", a, b)\n"},
		"local addresses": {"a.yaml", "a: http://localhost:80\nb: http://127.0.0.1\nc: http://db:5432\nd: http://www.w3.org/x\ne: http://x.svc.cluster.local\nf: https://a.com\n"},
		"fixed command":   {"a.go", `exec.Command("sh", "-c", "true")`},
		"curl to a file":  {"a.sh", "curl -o x https://x.y\n# curl x | sh\n"},
		"modes":           {"a.go", "os.MkdirAll(dir, 0o755)\nos.WriteFile(f, d, 0o644)\n"},
		"other language":  {"a.rb", "verify=False\nshell=True\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := said(report(t, "code.risks", folder(t, map[string]string{test.file: test.text}))); len(got) > 0 {
				t.Errorf("said: %q", got)
			}
		})
	}
}

func TestDockerfiles(t *testing.T) {
	const root = "against medium: The container of Dockerfile runs as root unless its base image says otherwise: no USER is set after the last FROM."
	const moving = "against low: Dockerfile builds on 1 image whose tag is missing or latest, so two builds may differ."
	for name, test := range map[string]struct {
		text  string
		want  []string
		never []string
	}{
		"no user":             {"FROM alpine:3.20\nCMD x\n", []string{root}, []string{"two builds"}},
		"root":                {"FROM alpine:3.20\nUSER root\n", []string{"against medium: The container of Dockerfile runs as root."}, nil},
		"user":                {"FROM alpine:3.20\nUSER root\nUSER app:app\n", []string{"for low: The container of Dockerfile runs as the user app:app, not as root."}, []string{"against"}},
		"user of a stage":     {"FROM a:1 AS build\nUSER app\nFROM b:1\n", []string{root}, nil},
		"built on a stage":    {"FROM a:1 AS base\nUSER app\nFROM base\nCMD x\n", []string{"for low: The container of Dockerfile runs as the user app, not as root."}, []string{"against"}},
		"nonroot image":       {"FROM gcr.io/distroless/static:nonroot\n", nil, []string{"against"}},
		"latest":              {"FROM a:latest\nUSER x\n", []string{moving}, nil},
		"no tag":              {"FROM --platform=linux/amd64 host:5000/a\nUSER x\n", []string{moving}, nil},
		"digest and variable": {"ARG V=1\nFROM a@sha256:00 AS x\nFROM a:$V\nUSER x\n", nil, []string{"two builds"}},
		"scratch":             {"FROM scratch\nUSER 10001\n", nil, []string{"against"}},
	} {
		t.Run(name, func(t *testing.T) {
			wantSaid(t, report(t, "code.risks", folder(t, map[string]string{"Dockerfile": test.text})), test.want, test.never...)
		})
	}
}

func TestFilesThatShouldNotBeThere(t *testing.T) {
	dir := folder(t, map[string]string{
		".env": "DEBUG=1\n", "deploy/id_rsa": "x\n", "store.p12": "\x00", "kubeconfig": "x\n", "bin/tool.exe": "\x00", "data.bin": "\x00" + strings.Repeat("x", 3<<20), "img/logo.png": "\x89PNG",
	})
	wantSaid(t, report(t, "code.risks", dir), []string{
		"against high: deploy/id_rsa holds an SSH private key.",
		"against high: store.p12 holds a key store.",
		"against high: kubeconfig holds a Kubernetes configuration with credentials.",
		"against medium: 1 environment file is in the folder and no .gitignore keeps it out of version control: .env.",
		"against low: 1 compiled file is in the folder, which no review of the source can judge: bin/tool.exe.",
		"against low: 1 binary file is of 1 MiB or more: data.bin (3.0 MiB).",
	}, "logo.png")
	put(t, dir, ".gitignore", "*.log\n.env\n")
	wantSaid(t, report(t, "code.risks", dir), []string{
		"neutral low: 1 environment file is in the folder, and .gitignore names such files, so whether they are committed depends on when they were added: .env.",
	}, "no .gitignore")
}
