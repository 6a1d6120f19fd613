//go:build linux

package console_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"polity.run/model/modeltest/wire"
)

var (
	chromium = flag.String("console.chromium", "", "Chromium's program: the console is tried in it")
	polity   = flag.String("console.polity", "", "the program polity, which serves the console")
	axe      = flag.String("console.axe", "", "axe.min.js of the npm package axe-core")
	pictures = flag.String("console.pictures", "", "folder for a picture of each screen")
)

// patience is how long something may take to be seen. It is no measure: the machine may be busy.
const patience = 40 * time.Second

// TestBrowser has a person start, watch and decide in a real browser, on a real node, which is killed in the middle; and then looks at every
// screen.
func TestBrowser(t *testing.T) {
	if *chromium == "" || *polity == "" || *axe == "" {
		t.Skip("DID NOT RUN: it needs -console.chromium, -console.polity and -console.axe")
	}
	script, err := os.ReadFile(*axe)
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t)
	n.start()
	tab := newTab(t)

	tab.open(n.link)
	tab.see(`location.pathname === "/console/" && document.body.innerText.includes("Nothing has run yet.")`)
	s := looks{t: t, tab: tab, url: n.url, axe: string(script)}
	s.look("empty", "/console/", "Nothing has run yet.")

	run := hierarchy(t, tab, n)
	untrusted(t, tab, n)
	heldBack(t, tab, n)
	steered(t, tab, n)
	s.looker(n)
	n.ask("support", `{"customer":"Ada","question":"What do I owe?"}`)
	n.ask("books", `"Close June."`)
	tab.open(n.url + "/console/approvals")
	tab.see(`document.querySelectorAll(".inbox-list li").length === 2`)
	s.everything(run, n)
	s.completed()
	s.steeredByKeys()
	s.linked(run)
	s.again(n)
	s.told(n)
	s.seesStart(n)
	tab.quiet()
}

// hierarchy starts an organization with an approval, watches it, approves, kills the node while it works, and sees the result. It
// returns the run's ID.
func hierarchy(t *testing.T, tab *tab, n *node) string {
	tab.press("gs")
	tab.see(`document.querySelector("h1").innerText === "Start a run" && [...(document.querySelector("main select")?.options ?? [])].some((o) => o.value === "books")`)
	tab.choose("main select", "books")
	tab.see(`document.querySelector("#f-input")`)
	tab.write("#f-input", "Close May.")
	tab.click(`button[type=submit]`)
	tab.see(`location.pathname.startsWith("/console/runs/") && document.querySelector(".callout.person")`)
	run := strings.TrimPrefix(tab.text(`location.pathname`), "/console/runs/")

	// It is told while it happens: the page is never loaded again from here on.
	tab.run(`window.witness = "the same page"`)
	tab.see(`document.querySelector("main .status").innerText === "waiting"`)
	tab.click(`.callout.person`)
	tab.see(`document.querySelector(".hash")`)
	if got, want := tab.text(`document.querySelector(".hash").innerText`), n.question().Approval.Hash; got != want {
		t.Errorf("the page shows the hash %s, the node's is %s", got, want)
	}
	if text := tab.text(`document.querySelector(".decide").innerText`); !strings.Contains(text, "Pay invoice 4711 of Nordwind: 1250.00 EUR.") {
		t.Errorf("the action is not shown:\n%s", text)
	}
	tab.write("#comment", "As agreed.")
	tab.click("#approve")
	tab.see(`document.body.innerText.includes("Nothing waits for you.")`)
	tab.run(`history.back()`)
	tab.see(`location.pathname.startsWith("/console/runs/")`)
	tab.see(`[...document.querySelectorAll(".step-row")].some((r) => r.innerText.includes("work.bank") && r.innerText.includes("running"))`)

	tab.outage(func() {
		n.kill()
		tab.see(`document.querySelector(".banner") && document.querySelector(".live").innerText === "Connecting again"`)
		n.start()
		tab.see(`!document.querySelector(".banner") && document.querySelector(".live").innerText === "Live"`)
	})
	tab.see(`document.querySelector("main .status").innerText === "completed"`)
	tab.click("#tab-result")
	tab.see(`document.querySelector("#panel").innerText.includes("paid 1250.00 EUR to Nordwind")`)
	if got := tab.text(`window.witness`); got != "the same page" {
		t.Errorf("the page was loaded again: %q", got)
	}

	// Nothing is missing, and nothing is there twice.
	tab.click("#tab-events")
	want := len(n.list("/v1/runs/" + run + "/events?limit=10000"))
	tab.see(fmt.Sprintf(`document.querySelector(".rows")?.ariaRowCount === "%d"`, want))
	return run
}

// untrusted has an agent want something that tries to be more than data, and looks at how it is shown.
func untrusted(t *testing.T, tab *tab, n *node) {
	run := n.ask("support", `{"customer":"Eve","question":"Note this."}`)
	tab.press("ga")
	tab.see(`document.querySelector(".decide h2")?.innerText === "crm.note"`)
	shown := tab.text(`document.querySelector(".input").innerText`)
	for _, want := range []string{"<img src=x onerror=\"window.harmed=1\">", "12345678901234567890", "⟨U+202E⟩", "0.10"} {
		if !strings.Contains(shown, want) {
			t.Errorf("an approval does not show %q as it is:\n%s", want, shown)
		}
	}
	if all := tab.text(`document.querySelector("main").innerText`); strings.Contains(all, "boss has agreed") {
		t.Errorf("an approval shows what the model says of it:\n%s", all)
	}
	tab.write("#comment", "That is no note.")
	tab.click("#deny")
	tab.see(`document.body.innerText.includes("Nothing waits for you.")`)
	tab.open(n.url + "/console/runs/" + run + "?tab=conversation")
	tab.see(`document.querySelector("main .status").innerText === "completed" && document.querySelectorAll(".talk li").length > 4`)
	if tab.text(`String(window.harmed)`) != "undefined" {
		t.Error("what an agent wrote was taken for a part of the page")
	}
}

// heldBack holds updates back while a run begins and fails, and lets them in again.
func heldBack(t *testing.T, tab *tab, n *node) {
	tab.open(n.url + "/console/runs")
	tab.see(`document.querySelector(".rows")`)
	before := tab.number(`Number(document.querySelector(".rows").ariaRowCount)`)
	tab.click(".live")
	n.ask("support", `{"customer":"Bob","question":"Is the server there?"}`)
	tab.see(`document.querySelector(".live").innerText.startsWith("Paused") && Number(document.querySelector(".live .count")?.innerText) > 2`)
	if now := tab.number(`Number(document.querySelector(".rows").ariaRowCount)`); now != before {
		t.Errorf("updates were held back, and the list went from %d to %d runs", before, now)
	}
	tab.click(".live")
	tab.see(fmt.Sprintf(`Number(document.querySelector(".rows").ariaRowCount) === %d && document.querySelector(".run-row:not(.head)").innerText.includes("failed")`, before+1))
}

// steered pauses, resumes and cancels a run that waits for a person.
func steered(t *testing.T, tab *tab, n *node) {
	run := n.ask("support", `{"customer":"Ada","question":"May I pay in two parts?"}`)
	tab.open(n.url + "/console/runs/" + run)
	stands := func(word string) {
		t.Helper()
		tab.see(`document.querySelector("main .status").innerText === "` + word + `"`)
	}
	stands("waiting")
	tab.push("Pause")
	tab.write("dialog input", "Lunch.")
	tab.click("dialog [type=submit]")
	stands("paused")
	tab.push("Resume")
	stands("waiting")
	tab.push("More")
	tab.push("Cancel…")
	tab.write("dialog input", "Nobody wants it any more.")
	tab.click("dialog [type=submit]")
	stands("cancelled")
	tab.see(`!document.querySelector(".callout.person")`)
	tab.click("#tab-conversation")
	tab.see(`document.querySelector("#panel").innerText.includes("Nobody wants it any more.")`)
	tab.see(`performance.getEntriesByType("resource").some((e) => e.name.endsWith("/v1/runs/` + run + `/events"))`) // which is told when it has ended
}

// looker signs in by the form with a key that may only look, and tries to do something. It is another origin: its session is another one.
func (s looks) looker(n *node) {
	s.t.Helper()
	key := n.cli("access", "create", "ann", "--role", "viewer")
	run := n.ask("support", `{"customer":"Ada","question":"What will it cost?"}`)
	there := s
	there.url = strings.Replace(s.url, "127.0.0.1", "localhost", 1)
	s.tab.asking(func() {
		there.look("sign-in", "/console/runs/"+run, "This node wants to know who you are.")
		s.tab.write("input[type=password]", "pk_wrong")
		s.tab.click("[type=submit]")
		s.tab.see(`document.querySelector("form .trouble")`)
		s.tab.run(`(() => { const i = document.querySelector("input[type=password]"); i.value = ""; i.dispatchEvent(new Event("input", {bubbles: true})); })()`)
		s.tab.write("input[type=password]", key)
		s.tab.click("[type=submit]")
		s.tab.see(`document.querySelector("main .status")?.innerText === "waiting"`)
		s.tab.push("Pause")
		s.tab.click("dialog [type=submit]")
		s.tab.see(`document.querySelector("dialog .trouble")?.innerText.includes("You may not do this.")`)
		s.inAllForms("refused")
	})
	if len(n.list("/v1/runs?q=paused:yes")) > 0 {
		s.t.Error("a key that may only look has paused a run")
	}
	var done any
	n.call(http.MethodPost, "/v1/runs/"+run+"/cancel", `{}`, &done)
}

// looks looks at screens.
type looks struct {
	t   *testing.T
	tab *tab
	url string
	axe string
}

// everything looks at each screen, with what there is to see by now.
func (s looks) everything(run string, n *node) {
	asked := url.PathEscape(n.question().Key)
	first := run + "?step=" + url.QueryEscape(run+"#assign")
	thinking := n.list("/v1/runs?q=org:support+status:completed&limit=1")[0].(map[string]any)["id"].(string)
	letters := correspondence(n)
	n.enter()
	s.look("overview", "/console/", "Agents, last 24 hours")
	s.pasted(n, "overview")
	s.look("runs", "/console/runs", "completed")
	s.pasted(n, "runs")
	s.look("runs-help", "/console/runs?help=1&q=status:running", "How to ask")
	s.look("runs-none", "/console/runs?q=agent:nobody", "No run fits.")
	s.look("runs-wrong", "/console/runs?q=agnt:x", "did you mean")
	s.look("run", "/console/runs/"+run, "work.bank")
	s.pasted(n, "run")
	s.look("run-step", "/console/runs/"+first, "Fork after this")
	s.look("run-thinking", "/console/runs/"+thinking, "crm.find")
	s.look("run-conversation", "/console/runs/"+run+"?tab=conversation", "ended: completed")
	s.pasted(n, "run-conversation")
	s.look("run-answer", "/console/runs/"+run+"?tab=result", "What it answered")
	s.pasted(n, "run-answer")
	s.look("run-messages", "/console/runs/"+letters+"?tab=messages", "outside:operator")
	s.pasted(n, "run-messages")
	s.look("run-events", "/console/runs/"+run+"?tab=events&event=2", "Event 2")
	s.pasted(n, "run-events")
	s.look("run-unknown", "/console/runs/0-nothing", "There is no such run.")
	s.look("approvals", "/console/approvals/"+asked, "Exactly this is done")
	s.pasted(n, "approvals")
	s.look("organizations", "/console/orgs", "support")
	s.pasted(n, "organizations")
	s.look("organization", "/console/orgs/books?node=cash", "asks as worker")
	s.pasted(n, "organization")
	s.look("organization-peers", "/console/orgs/newsroom", "critic")
	s.look("start", "/console/start?org=support", "Somebody waits")
	s.look("unknown", "/console/nowhere", "Nothing is here.")
	s.overlay("palette", func() { s.tab.chord("k") }, ".palette [role=option]")
	s.overlay("keys", func() { s.tab.press("?") }, "dialog .keys")
}

// correspondence has agents write to each other in a conversation. It returns a run that a message of it opened.
func correspondence(n *node) string {
	talk := []string{"--conversation", "launch"}
	n.cli(append([]string{"ask", "critic", "Is it ready?"}, talk...)...)
	n.cli(append([]string{"ask", "group:desk", "Is it ready now?", "--from", "scout"}, talk...)...)
	n.cli(append([]string{"send", "printer", `{"question":"Print it."}`, "--priority", "high"}, talk...)...)
	first := n.list("/v1/messages?to=critic&conversation=launch")[0].(map[string]any)
	return first["run"].(string)
}

// look opens a screen, lets axe look for what keeps people out in both themes, wide and narrow, and takes pictures if they are wanted.
func (s looks) look(name, path, shows string) {
	s.t.Helper()
	s.tab.open(s.url + path)
	s.tab.see(fmt.Sprintf(`document.querySelector("main").innerText.includes(%q) && !document.querySelector(".skeleton")`, shows))
	s.inAllForms(name)
	if elsewhere := s.tab.text(`performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !n.startsWith(location.origin + "/")).join(" ")`); elsewhere != "" {
		s.t.Errorf("%s loads from elsewhere: %s", name, elsewhere)
	}
	if graphs, tables := s.tab.number(`document.querySelectorAll("main svg[role=img], main canvas, main .bars").length`), s.tab.number(`document.querySelectorAll("main table, main [role=table]").length`); graphs > tables {
		s.t.Errorf("%s has %d graphs, and %d tables", name, graphs, tables)
	}
}

// overlay looks at what is opened above a screen.
func (s looks) overlay(name string, open func(), shows string) {
	s.t.Helper()
	s.tab.open(s.url + "/console/runs")
	s.tab.see(`document.querySelector(".run-row")`)
	open()
	s.tab.see(fmt.Sprintf(`document.querySelector(%q)`, shows))
	s.inAllForms(name)
}

func (s looks) inAllForms(name string) {
	s.t.Helper()
	for _, width := range []int64{1280, 390} {
		s.tab.resize(width)
		for _, theme := range []string{"light", "dark"} {
			s.tab.run(fmt.Sprintf(`dispatchEvent(new CustomEvent("polity-theme", {detail: %q}))`, theme))
			if wide := s.tab.number(`document.documentElement.scrollWidth - innerWidth`); wide > 0 {
				s.t.Errorf("%s is %d px wider than the window of %d px", name, wide, width)
			}
			s.tab.accessible(fmt.Sprintf("%s, %s, %d px", name, theme, width), s.axe)
			if *pictures != "" {
				s.tab.picture(filepath.Join(*pictures, fmt.Sprintf("%s-%d-%s.png", name, width, theme)))
			}
		}
	}
	s.tab.resize(1280)
}

// --- a node

// node is a process that serves, and an organization's model provider.
type node struct {
	t           *testing.T
	state, addr string
	url, link   string
	cmd         *exec.Cmd
	teams       string
	home        string // of whoever uses the command
	token       string
}

func newNode(t *testing.T) *node {
	provider := httptest.NewServer(&wire.Server{Answer: clerk})
	t.Cleanup(provider.Close)
	teams := t.TempDir()
	if err := os.CopyFS(teams, os.DirFS("testdata/teams")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(teams, "support", "polity.yaml")
	manifest, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	manifest = bytes.Replace(manifest, []byte("http://127.0.0.1:1"), []byte(provider.URL), 1)
	if err := os.WriteFile(file, manifest, 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0") // a port that stays the same
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, state: t.TempDir(), addr: addr, url: "http://" + addr, teams: teams, home: t.TempDir()}
	t.Cleanup(n.kill)
	return n
}

var oneTimeLink = regexp.MustCompile(`http://\S+/session\?code=\S+`)

// start starts the process, and returns when it can be reached.
func (n *node) start() {
	n.t.Helper()
	first := n.link == ""
	n.cmd = exec.Command(*polity, "up", n.teams, "--state", n.state, "--listen", n.addr)
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	n.cmd.Stderr = os.Stderr
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); ; {
		if !lines.Scan() {
			n.t.Fatalf("polity up says no address: %v", lines.Err())
		}
		if link := oneTimeLink.FindString(lines.Text()); link != "" {
			n.link = link
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // until the process ends
	token, err := os.ReadFile(filepath.Join(n.state, "token"))
	if err != nil {
		n.t.Fatal(err)
	}
	n.token = strings.TrimSpace(string(token))
	if first {
		for len(n.list("/v1/orgs")) < 4 {
			time.Sleep(20 * time.Millisecond) // until the manifests are applied
		}
	}
}

// cli runs a command against the node and returns what it prints.
func (n *node) cli(args ...string) string {
	n.t.Helper()
	cmd := exec.Command(*polity, append(args, "--server", n.url, "--token-file", filepath.Join(n.state, "token"))...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		n.t.Fatalf("polity %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// enter has the command speak with the node, as a person would who has its token.
func (n *node) enter() {
	n.t.Helper()
	for _, args := range [][]string{{"context", "add", "here", n.url, "--token-file", filepath.Join(n.state, "token")}, {"context", "use", "here"}} {
		cmd := exec.Command(*polity, args...)
		cmd.Env = append(os.Environ(), "HOME="+n.home, "XDG_CONFIG_HOME="+n.home)
		if out, err := cmd.CombinedOutput(); err != nil {
			n.t.Fatalf("polity %v: %v\n%s", args, err, out)
		}
	}
}

// kill ends the process as a power cut would.
func (n *node) kill() {
	if n.cmd != nil && n.cmd.ProcessState == nil {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait() // it was killed
	}
}
