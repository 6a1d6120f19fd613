//go:build linux

package console_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// completed writes a filter with what the page proposes, by the keyboard alone.
func (s looks) completed() {
	s.t.Helper()
	tab := s.tab
	tab.open(s.url + "/console/runs")
	tab.see(`document.querySelector(".run-row")`)
	tab.press("/")
	tab.see(`document.activeElement.getAttribute("role") === "combobox"`)
	chosen := `document.getElementById(document.activeElement.getAttribute("aria-activedescendant"))?.innerText.split("\n")[0]`
	tab.run(`document.activeElement.select()`) // the key that came here was also written, which a person's is not
	tab.keys("st")
	tab.see(`document.activeElement.ariaExpanded === "true"`)
	tab.keys(arrowDown)
	tab.see(chosen + ` === "status:"`)
	tab.keys(enter)
	tab.see(`document.activeElement.value === "status:" && [...document.querySelectorAll("[role=option] code")].map((o) => o.innerText).join() === "running,completed,exhausted,failed,cancelled,stopped"`)
	s.inAllForms("runs-complete")
	tab.keys("fa" + arrowDown + tabKey) // a value is taken by Tab, too, and is asked for at once
	tab.see(`new URLSearchParams(location.search).get("q") === "status:failed" && document.activeElement.value === "status:failed "`)
	tab.keys("took" + arrowDown)
	tab.see(chosen + ` === "took>"`)
	tab.keys(enter + arrowDown)
	tab.see(chosen + ` === "1s"`)
	tab.keys(escape)
	tab.see(`document.activeElement.ariaExpanded === "false"`)
	tab.keys("0s" + enter)
	tab.see(`new URLSearchParams(location.search).get("q") === "status:failed took>0s" && document.querySelector(".run-row:not(.head)")?.innerText.includes("failed")`)
	tab.open(s.url + "/console/runs")
	tab.see(`document.querySelector(".run-row")`)
	tab.press("/")
	tab.run(`document.activeElement.select()`)
	tab.keys("agent:cri")
	tab.see(`document.querySelector("[role=option] code")?.innerText === "critic"`)
	tab.click("[role=option]")
	tab.see(`document.querySelector(".note").innerText.includes("that fit") && [...document.querySelectorAll(".run-row:not(.head) .c-agent")].every((c) => c.innerText === "critic")`)
}

// steeredByKeys goes through a list and between screens without the mouse.
func (s looks) steeredByKeys() {
	s.t.Helper()
	tab := s.tab
	tab.open(s.url + "/console/runs")
	tab.see(`document.querySelector(".run-row")`)
	row := func(n int) {
		s.t.Helper()
		tab.see(fmt.Sprintf(`new URLSearchParams(location.search).get("row") === "%d" && document.querySelector("[aria-rowindex='%d'][data-focus]")`, n, n+1))
	}
	for _, step := range []struct {
		key string
		at  int
	}{{"j", 0}, {"j", 1}, {"j", 2}, {"k", 1}} {
		tab.press(step.key)
		row(step.at)
	}
	tab.press(enter)
	tab.see(`location.pathname.startsWith("/console/runs/") && document.querySelector("#tab-timeline")`)
	for key, name := range map[string]string{"2": "conversation", "3": "result", "4": "messages", "5": "events", "1": "timeline"} {
		tab.press(key)
		tab.see(`document.querySelector("[role=tab][aria-selected=true]").dataset.tab === "` + name + `"`)
	}
	for _, jump := range [][2]string{{"go", "Overview"}, {"gr", "Runs"}, {"ga", "Approvals"}, {"gn", "Organizations"}, {"gs", "Start a run"}} {
		tab.press(jump[0])
		tab.see(`document.querySelector("h1").innerText === "` + jump[1] + `"`)
	}
	tab.chord("k")
	tab.see(`document.activeElement.closest(".palette")`)
	tab.keys("organization news")
	tab.see(`document.querySelectorAll("[role=option]").length === 1`)
	tab.keys(enter)
	tab.see(`location.pathname === "/console/orgs/newsroom"`)
}

// linked opens the address of states, and finds each as it was.
func (s looks) linked(run string) {
	s.t.Helper()
	step := url.QueryEscape(run + "#assign")
	for path, shows := range map[string]string{
		"/console/runs?q=status:failed&row=0":                                `document.querySelector(".run-row[data-focus]") && document.querySelector("[role=combobox]").value === "status:failed" && document.querySelector(".chip[aria-pressed=true]") === null`,
		"/console/runs?q=status:failed,exhausted":                            `document.querySelector(".chip[aria-pressed=true]").innerText === "Failed"`,
		"/console/runs/" + run + "?step=" + step + "&show=agents&t=0~400":    `document.querySelector(".detail h2").innerText === "assign" && document.querySelector(".step-row[data-focus]") && document.querySelector(".chip[aria-pressed=true]").innerText.startsWith("Agents") && !document.querySelector(".zoom button:last-child").disabled`,
		"/console/runs/" + run + "?tab=events&event=3":                       `document.querySelector(".detail h2").innerText === "Event 3"`,
		"/console/runs/" + url.PathEscape(run+"/work.cash"):                  `document.querySelector("h1").innerText === "cash" && document.querySelector(".note a")`,
		"/console/start?org=newsroom&agent=editor":                           `[...document.querySelectorAll("main select")].map((x) => x.value).join() === "newsroom,editor"`,
		"/console/orgs/books?node=bank":                                      `document.querySelector(".nodes tr[data-focus]").innerText.startsWith("bank") && document.querySelector(".node[data-selected]")`,
		"/console/approvals/" + url.PathEscape("0-nothing#approve.anything"): `document.body.innerText.includes("This is not asked any more.")`,
	} {
		s.tab.open(s.url + path)
		s.tab.see(shows)
	}
}

// again retries a failed run, and forks one that ended, from the page.
func (s looks) again(n *node) {
	s.t.Helper()
	tab := s.tab
	elsewhere := func(old string) string {
		s.t.Helper()
		tab.see(`location.pathname.startsWith("/console/runs/0-") && !location.pathname.endsWith("` + old + `") && document.querySelector("main .status")`)
		return strings.TrimPrefix(tab.text(`location.pathname`), "/console/runs/")
	}
	failed := n.list("/v1/runs?q=org:support+status:failed&limit=1")[0].(map[string]any)["id"].(string)
	tab.open(s.url + "/console/runs/" + failed)
	tab.see(`document.querySelector("main .status")?.innerText === "failed"`)
	tab.push("Retry")
	tab.click("dialog [type=submit]")
	elsewhere(failed)
	tab.see(`document.querySelector("main .status").innerText === "failed"`)

	done := n.list("/v1/runs?q=org:support+status:completed&limit=1")[0].(map[string]any)["id"].(string)
	tab.open(s.url + "/console/runs/" + done)
	tab.see(`document.querySelectorAll(".step-row").length > 4`)
	tab.run(`[...document.querySelectorAll(".step-row")].find((r) => r.innerText.includes("crm.find")).click()`)
	tab.see(`[...document.querySelectorAll(".detail button")].some((x) => x.innerText === "Fork after this")`)
	tab.push("Fork after this")
	tab.see(`Number(document.querySelector("dialog input[type=number]").value) > 1`)
	tab.click("dialog [type=submit]")
	fork := elsewhere(done)
	tab.see(`document.querySelector(".facts").innerText.includes("Fork of") && document.querySelector(".callout.person")`) // it asks what the first one asked
	tab.push("More")
	tab.push("Cancel…")
	tab.click("dialog [type=submit]")
	tab.see(`document.querySelector("main .status").innerText === "cancelled"`)
	if n.list("/v1/runs?q=fork:" + done)[0].(map[string]any)["id"] != fork {
		s.t.Errorf("%s is no fork of %s", fork, done)
	}
}

// told sends a run the signal that it sleeps for, after its organization says that it waits.
func (s looks) told(n *node) {
	s.t.Helper()
	tab := s.tab
	run := n.ask("orders", `{"item":"lamp"}`)
	tab.open(s.url + "/console/runs/" + run)
	tab.see(`document.querySelector("main .status")?.innerText === "waiting" && document.querySelector(".callouts").innerText.includes("signal paid")`)
	tab.open(s.url + "/console/orgs/orders")
	tab.see(`document.querySelector(".facts-line").innerText.includes("1 waiting") && document.querySelector(".node[data-main] .load").textContent === "1 waiting"`)
	tab.open(s.url + "/console/runs/" + run)
	tab.push("More")
	tab.push("Signal…")
	tab.see(`document.querySelector("dialog input").value === "paid"`)
	tab.run(`(() => { const d = document.querySelector("dialog textarea"); d.value = '{"amount": 12.5}'; d.dispatchEvent(new Event("input", {bubbles: true})); })()`)
	tab.click("dialog [type=submit]")
	tab.see(`document.querySelector("main .status").innerText === "completed"`)
	tab.click("#tab-conversation")
	tab.see(`document.querySelector("#panel").innerText.includes("is told paid")`)
}

// pasted copies what stands on the screen as a command and for curl, and has a shell do both.
func (s looks) pasted(n *node, name string) {
	s.t.Helper()
	for _, as := range []string{"as a command", "with curl"} {
		line := s.tab.copied(as)
		if as == "with curl" {
			line += ` -w '\n%{http_code}'`
		}
		ctx, cancel := context.WithTimeout(s.t.Context(), patience)
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(*polity)+":"+os.Getenv("PATH"), "HOME="+n.home, "XDG_CONFIG_HOME="+n.home, "POLITY_TOKEN="+n.token)
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil || as == "with curl" && !strings.HasSuffix(string(out), "\n200") && !strings.HasSuffix(string(out), "\n201") && !strings.HasSuffix(string(out), "\n202") {
			s.t.Errorf("%s, copied %s: %v\n$ %s\n%.2000s", name, as, err, line, out)
		}
	}
}

// copied copies by the screen's menu, and gives what a person would paste.
func (b *tab) copied(as string) string {
	b.t.Helper()
	b.run(`window.copied = "", navigator.clipboard.writeText = async (text) => { window.copied = text; }`)
	b.push("Copy")
	b.see(fmt.Sprintf(`((x) => x && (x.click(), true))([...document.querySelectorAll("[role=menuitem]")].find((x) => x.querySelector("span").innerText === %q))`, as))
	b.see(`window.copied && document.querySelector(".toast").innerText.includes("is copied.")`)
	return b.text(`window.copied`)
}

// seesStart fills in a form and pastes what it would do.
func (s looks) seesStart(n *node) {
	s.t.Helper()
	s.tab.open(s.url + "/console/start?org=newsroom&agent=scout")
	s.tab.see(`document.querySelector("#f-input")`)
	s.tab.write("#f-input", `What's "new"?`)
	before := len(n.list("/v1/runs?q=agent:scout"))
	s.pasted(n, "start")
	for end := time.Now().Add(patience); ; time.Sleep(40 * time.Millisecond) {
		if now := len(n.list("/v1/runs?q=agent:scout")); now == before+2 {
			return
		} else if time.Now().After(end) {
			s.t.Errorf("what was pasted began %d runs, not 2", now-before)
			return
		}
	}
}
