package engine_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/engine"
)

// TestNPM serves the example's agent with the npm client of NATS. The environment says where npm put it.
func TestNPM(t *testing.T) {
	modules := os.Getenv("POLITY_NPM_NATS")
	if modules == "" {
		t.Skip("DID NOT RUN: POLITY_NPM_NATS names no folder in which npm has put nats; .ci/run does")
	}
	text, err := os.ReadFile("../examples/outside/polity.yaml")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("../examples/outside/js/pricer.mjs")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(modules, "pricer.mjs") // beside its modules
	if err := os.WriteFile(path, program, 0o600); err != nil {
		t.Fatal(err)
	}
	o := openOutdoors(t, t.TempDir(), strings.NewReplacer(
		"{timeout: 10m}", "{timeout: 10m, effect: none}", "links: [", "links: [{from: outside, to: [pricer]}, ").Replace(string(text)))
	node := exec.Command("node", path, o.creds(t, "pricer", 0))
	node.Stderr = os.Stderr
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	o.until(t, "pricer", func(p polity.Presence) bool { return p.State == "serving" && fmt.Sprint(p.Versions) == "[1.0.0]" })
	for item, want := range map[string]string{"pear": `"output":{"cents":165}`, "plum": "there are no plums"} {
		out, err := o.Run(t.Context(), engine.Request{Release: o.release, Input: json.RawMessage(fmt.Sprintf(`{"item":%q,"count":3}`, item))})
		got, bad := json.Marshal(out)
		if err != nil || bad != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %s %v", item, got, err)
		}
	}
	for item, want := range map[string]string{"pear": `{"cents":165}`, "plum": "there are no plums"} {
		if p, out := o.askLive(t, "pricer", fmt.Sprintf(`{"item":%q,"count":3}`, item), time.Time{}); !strings.Contains(out, want) || (p == polity.Inform) != (item == "pear") {
			t.Errorf("live, %s: %s %s", item, p, out)
		}
	}
	if err := node.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := node.Wait(); err != nil {
		t.Error(err)
	}
	o.until(t, "pricer", func(p polity.Presence) bool { return p.State == "away" })
}
