//go:build linux

package console_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	pol "polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/script"
)

var (
	large     = flag.Int("console.large", 0, "runs of a list that is scrolled and asked, beside one run of 10,000 steps; how long it took is logged")
	largeKept = flag.String("console.large.state", "", "folder for the state with these runs, which is used again if it is there")
)

const (
	largeSteps  = 10_000
	largeAtOnce = 256
	largeBranch = 100 // steps of the large run that are asked for at once
	largeRounds = 40  // how often a question is asked
	largeJumps  = 60  // places in the list that are scrolled to
)

// TestLarge measures: real runs, many, in a list that is scrolled and asked, and a long one that is opened.
func TestLarge(t *testing.T) {
	if *large == 0 {
		t.Skip("it measures: it runs with -console.large")
	}
	n := newNode(t)
	if *largeKept != "" {
		n.state = *largeKept
	}
	id := fill(t, n.state)
	n.start()
	tab := newTab(t)
	tab.open(n.link)
	tab.see(`location.pathname === "/console/"`)
	opens(t, tab, n, id)
	scrolls(t, tab, n)
	asks(t, n)
	tab.quiet()
}

// fill does the runs. It returns the ID of the long one.
func fill(t *testing.T, state string) pol.RunID {
	long := pol.NewRunID(0, []byte("the long run"))
	if _, err := os.Stat(state + "/token"); err == nil && *largeKept != "" {
		return long
	}
	type job struct{ N int }
	clerk := func(name pol.AgentName) *agent.Agent {
		a, err := agent.Func(name, "1", func(_ context.Context, j job) (job, error) {
			if j.N%10 == 3 {
				return j, fault.Failed.New("order %d is not to be had", j.N)
			}
			return j, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	walk, err := script.New("long", "1", func(c *script.Context, _ job) (job, error) {
		for i := 0; i < largeSteps-1; i += largeBranch {
			var parts []func() error
			for k := i; k < min(i+largeBranch, largeSteps-1); k++ {
				parts = append(parts, func() error { return c.Ask(fmt.Sprint("order.", k), "clerk-0", job{10 * k}, nil) })
			}
			if err := c.Parallel(parts...); err != nil {
				return job{}, err
			}
		}
		return job{largeSteps}, nil
	}, script.Config{})
	if err != nil {
		t.Fatal(err)
	}
	agents := []*agent.Agent{walk}
	for i := range 20 {
		agents = append(agents, clerk(pol.AgentName(fmt.Sprint("clerk-", i))))
	}
	e, err := engine.Open(t.Context(), engine.Config{State: state, Sync: engine.SyncOS, Agents: agents, View: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	began := time.Now()
	o, err := e.Run(t.Context(), engine.Request{ID: long, Agent: "long", Input: json.RawMessage(`{"N":1}`), Bounds: pol.Bounds{Turns: 2 * largeSteps, FanOut: largeBranch}})
	if err != nil || o.Status != pol.StatusCompleted {
		t.Fatalf("the long run: %+v %v", o, err)
	}
	t.Logf("a run of %d steps was done in %v", largeSteps, time.Since(began))
	began = time.Now()
	var all sync.WaitGroup
	for w := range largeAtOnce {
		all.Go(func() {
			for i := w; i < *large; i += largeAtOnce {
				if _, err := e.Run(t.Context(), engine.Request{Agent: fmt.Sprint("clerk-", i%20), Input: json.RawMessage(fmt.Sprintf(`{"N":%d}`, i/20)), Seed: fmt.Sprint(i)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d runs were done in %v", *large, time.Since(began))
	for {
		found, err := e.Lookup(t.Context(), pol.Lookup{Of: pol.LookupView, Wait: pol.LookupWaitMax})
		if err != nil {
			t.Fatal(err)
		}
		if found.View.Behind == 0 {
			t.Logf("the view had caught up after %v", time.Since(began))
			return long
		}
	}
}

// opens opens the long run, from an address and from within the page.
func opens(t *testing.T, tab *tab, n *node, id pol.RunID) {
	const whole = `document.querySelector(".rows")?.ariaRowCount === "10000"`
	const drawn = `document.querySelectorAll(".step-row").length > 3`
	for i := range 3 {
		tab.open(n.url + "/console/runs")
		tab.see(`document.querySelector(".run-row")`)
		tab.run(fmt.Sprintf(`(() => { window.began = performance.now(); window.first = 0; window.all = 0;
			history.pushState(null, "", "/console/runs/%s"); dispatchEvent(new PopStateEvent("popstate"));
			const look = () => { if (!window.first && %s) window.first = performance.now() - began; if (%s) window.all = performance.now() - began; else requestAnimationFrame(look); };
			look(); })()`, id, drawn, whole))
		tab.see(`window.all > 0`)
		t.Logf("run of %d steps, opened within the page (%d): first steps after %d ms, all after %d ms", largeSteps, i, tab.number(`Math.round(first)`), tab.number(`Math.round(all)`))
	}
	for i := range 3 {
		began := time.Now()
		tab.open(n.url + "/console/runs/" + string(id))
		tab.see(drawn)
		first := time.Since(began)
		tab.see(whole)
		t.Logf("run of %d steps, loaded with the page (%d): first steps after %v, all after %v", largeSteps, i, first.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	}
}

// scrolls goes down the list to its end, as far as is known each time, and then to places all over it, of which the rows were let go.
func scrolls(t *testing.T, tab *tab, n *node) {
	tab.open(n.url + "/console/runs")
	tab.see(`document.querySelector(".run-row:not(.head, .waiting)")`)
	tab.run(`window.took = [], window.over = "", (async () => {
		const box = document.querySelector(".rows"), frame = () => new Promise(requestAnimationFrame);
		const to = async (top, done) => {
			const began = performance.now();
			box.scrollTop = top;
			do await frame(); while (!done());
			took.push(performance.now() - began);
		};
		const known = () => Number(box.ariaRowCount);
		const there = () => !document.querySelector(".run-row.waiting");
		const whole = () => document.querySelector(".note").innerText.includes("in all");
		while (!whole()) { const before = known(); await to(box.scrollHeight, () => known() > before || whole()); }
		const sum = (list) => { list.sort((a, b) => a - b); return "p50 " + Math.round(list[list.length >> 1]) + " ms, p95 " + Math.round(list[Math.floor(list.length * 0.95)]) + " ms"; };
		const first = sum(took.slice(0, 100)), last = sum(took.slice(-100)), all = Math.round(took.reduce((a, b) => a + b, 0) / 1000);
		took = [];
		for (let i = 0; i < ` + fmt.Sprint(largeJumps) + `; i++) await to(box.scrollHeight * ((i * 0.618) % 1), there);
		over = known() + " rows: a page further, the first hundred " + first + ", the last hundred " + last + ", to the end in " + all + " s; a jump to any place " + sum(took) + "; " + document.querySelectorAll(".run-row").length + " rows drawn";
	})().catch((e) => { over = String(e); })`)
	for tab.text(`window.over`) == "" {
		time.Sleep(time.Second)
	}
	t.Log(tab.text(`window.over`))
	if known := tab.number(`Number(document.querySelector(".rows").ariaRowCount)`); known != *large+1 {
		t.Errorf("the list has %d rows, and there are %d runs", known, *large+1)
	}
}

// asks asks as the console does, and follows the pages.
func asks(t *testing.T, n *node) {
	for _, q := range []string{"", "status:failed", "agent:clerk-7", "agent:clerk-7 status:failed", "started>-1h", "status:failed order"} {
		var took []time.Duration
		after := ""
		for range largeRounds {
			r, err := http.NewRequest(http.MethodGet, n.url+"/v1/runs?limit=100&q="+url.QueryEscape(q)+"&after="+url.QueryEscape(after), nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+n.token)
			began := time.Now()
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			var page struct {
				Items []json.RawMessage
				Next  string
			}
			err = json.NewDecoder(answer.Body).Decode(&page)
			answer.Body.Close()
			if err != nil || answer.StatusCode != http.StatusOK || len(page.Items) == 0 {
				t.Fatalf("%q: %s, %d runs, %v", q, answer.Status, len(page.Items), err)
			}
			took = append(took, time.Since(began))
			after = page.Next
		}
		slices.Sort(took)
		t.Logf("GET /v1/runs?q=%s: p50 %v, p95 %v", q, took[len(took)/2].Round(time.Microsecond), took[len(took)*95/100].Round(time.Microsecond))
	}
}
