package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/manifest"
	"polity.run/model"
)

const doctorHelp = `Look at what Polity runs on, and say what is wrong and what to do about it: the state folder, who
serves it and how long the disk takes, the system, and the clock.

With MANIFEST also what the manifest needs: that it is valid, that the environment variables that
it names are set, that the programs of agents and MCP servers are there, and that the folders to
watch are. Providers are asked with --online only: one small question each, which costs a few tokens.

The exit code is 1 if something fails. A warning is worth reading and stops nothing.`

func (a *app) newDoctor() *cobra.Command {
	online := false
	cmd := &cobra.Command{
		Use: "doctor [MANIFEST]", Short: "Check this machine, the state folder and what a manifest needs", Long: doctorHelp,
		Example: "  polity doctor\n  polity doctor desk.yaml --online\n  polity doctor -o json | jq '.checks[] | select(.status != \"ok\")'",
		Args:    args(cobra.MaximumNArgs(1)),
	}
	cmd.Flags().BoolVar(&online, "online", false, "ask the models of the manifest one small question")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if online && len(args) == 0 {
			return usagef("--online asks the models of a manifest; name one")
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		dir, err := a.stateDir()
		if err != nil {
			return err
		}
		d := &doctor{app: a, asText: output.value != "json"}
		d.machine()
		d.state(ctx, dir)
		if len(args) > 0 {
			d.manifest(ctx, args[0], online)
		}
		return d.verdict()
	}
	return cmd
}

// finding is what came of one check.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warn or fail
	Text   string `json:"text"`
	Fix    string `json:"fix,omitempty"`
}

// doctor collects findings, and prints each when it is made unless they are wanted as JSON.
type doctor struct {
	*app
	asText  bool
	found   []finding
	written error // why a finding could not be printed
}

func (d *doctor) ok(check, format string, args ...any) { d.add("ok", check, "", format, args...) }

func (d *doctor) warn(check, fix, format string, args ...any) {
	d.add("warn", check, fix, format, args...)
}

func (d *doctor) fail(check, fix, format string, args ...any) {
	d.add("fail", check, fix, format, args...)
}

func (d *doctor) add(status, check, fix, format string, args ...any) {
	f := finding{Check: check, Status: status, Text: fmt.Sprintf(format, args...), Fix: fix}
	d.found = append(d.found, f)
	if !d.asText || d.written != nil {
		return
	}
	text := fmt.Sprintf("%-4s  %-12s  %s\n", f.Status, f.Check, clean(f.Text))
	if f.Fix != "" {
		text += fmt.Sprintf("%20sfix: %s\n", "", clean(f.Fix))
	}
	d.written = d.out([]byte(text))
}

func (d *doctor) verdict() error {
	if d.written != nil {
		return d.written
	}
	failed := 0
	for _, f := range d.found {
		if f.Status == "fail" {
			failed++
		}
	}
	if !d.asText {
		if err := d.writeJSON(map[string]any{"failed": failed, "checks": d.found}); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fault.Failed.New("%s failed", count(failed, "check"))
	}
	return nil
}

// manifest checks what a manifest needs.
func (d *doctor) manifest(ctx context.Context, path string, online bool) {
	env, err := d.environment()
	if err != nil {
		d.fail("manifest", "", "%s", err)
		return
	}
	m, err := manifest.Load(path, env)
	var problems manifest.Problems
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			d.fail("manifest", p.Fix, "%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
		}
		return
	case err != nil:
		d.fail("manifest", "", "%s", err)
		return
	}
	d.ok("manifest", "%s is valid: %s", m.Path, count(len(m.Release.Agents), "agent"))
	for _, w := range m.Warnings {
		d.warn("manifest", w.Fix, "%s:%d:%d: %s", w.File, w.Line, w.Column, w.Text)
	}
	d.variables(&m.Release)
	d.programs(&m.Release)
	d.folders(m)
	d.models(ctx, &m.Release, online)
}

// variables says of each environment variable whether it is set. Values are never shown.
func (d *doctor) variables(r *agent.Release) {
	needs := map[string]string{} // name -> who needs it
	add := func(name, who string) { needs[name] = cmp.Or(needs[name], who) }
	inHeaders := func(headers map[string]string, who string) {
		for _, value := range headers {
			os.Expand(value, func(name string) string { add(name, who); return "" })
		}
	}
	passed := func(env []string, who string) {
		for _, pair := range env {
			if name, _, given := strings.Cut(pair, "="); !given {
				add(name, who)
			}
		}
	}
	for _, s := range r.Models {
		if s.KeyEnv != "" {
			add(s.KeyEnv, "model "+s.Name)
		}
	}
	for _, s := range r.Sources {
		if s.HTTP != nil {
			inHeaders(s.HTTP.Headers, "tools "+s.Name)
		}
		if s.MCP != nil {
			inHeaders(s.MCP.Headers, "tools "+s.Name)
			passed(s.MCP.Env, "tools "+s.Name)
		}
		if s.Exec != nil {
			passed(s.Exec.Env, "tools "+s.Name)
		}
	}
	for _, a := range r.Agents {
		if a.HTTP != nil {
			inHeaders(a.HTTP.Headers, "agent "+string(a.Name))
		}
	}
	for _, name := range sorted(needs) {
		if os.Getenv(name) == "" {
			d.fail("variable", "export "+name+"=...", "%s is not set; %s needs it", name, needs[name])
			continue
		}
		d.ok("variable", "%s is set, for %s", name, needs[name])
	}
}

func sorted(m map[string]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// programs looks for the programs of agents and MCP servers. Those that the release pins are there.
func (d *doctor) programs(r *agent.Release) {
	needs := map[string]string{}
	for _, a := range r.Agents {
		if a.Exec != nil && !strings.HasPrefix(a.Exec.Command[0], "./") {
			needs[a.Exec.Command[0]] = "agent " + string(a.Name)
		}
	}
	for _, s := range r.Sources {
		if s.MCP != nil && len(s.MCP.Command) > 0 {
			needs[s.MCP.Command[0]] = "the MCP server " + s.Name
		}
		if s.Exec != nil {
			for _, name := range s.Exec.Allow {
				needs[name] = "tools " + s.Name
			}
		}
	}
	for _, name := range sorted(needs) {
		path, err := exec.LookPath(name)
		if err != nil {
			d.fail("program", "install it, or correct the command in the manifest", "%s of %s: %s", name, needs[name], err)
			continue
		}
		d.ok("program", "%s of %s is %s", name, needs[name], path)
	}
}

// folders looks for the folders that are watched.
func (d *doctor) folders(m *manifest.Manifest) {
	for _, on := range m.On {
		on = on.Under(filepath.Dir(m.Path))
		if on.Folder == nil {
			continue
		}
		if _, err := on.Folder.Open(); err != nil {
			d.fail("watch", "mkdir -p "+on.Folder.Path, "%s", err)
			continue
		}
		d.ok("watch", "the folder %s is there", on.Folder.Path)
	}
}

// models asks the models, if that is wanted.
func (d *doctor) models(ctx context.Context, r *agent.Release, online bool) {
	if len(r.Models) == 0 {
		return
	}
	if !online {
		d.ok("models", "%s not asked; --online asks", count(len(r.Models), "model"))
		return
	}
	e, err := engine.Equip(r)
	if err != nil {
		d.fail("models", "", "%s", err)
		return
	}
	for _, s := range r.Models {
		answer, err := tryModel(ctx, e.Models[s.Name])
		if err != nil {
			d.fail("models", modelFix(s, err), "%s: %s", s.Name, err)
			continue
		}
		d.ok("models", "%s: %s", s.Name, answer)
	}
	if err := e.Close(); err != nil {
		d.warn("models", "", "%s", err)
	}
}

// modelFix says what to do about a model that does not answer.
func modelFix(s model.Spec, err error) string {
	switch {
	case errors.Is(err, fault.Unauthenticated), errors.Is(err, fault.Denied):
		return "look at the key in " + cmp.Or(s.KeyEnv, "key_env")
	case errors.Is(err, fault.Unavailable), errors.Is(err, fault.Timeout):
		return "see whether " + cmp.Or(s.URL, "the provider") + " can be reached from here"
	default:
		return "look at model and url in the manifest"
	}
}
