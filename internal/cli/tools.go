package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"polity.run/engine"
	"polity.run/fault"
	"polity.run/manifest"
	"polity.run/tool"
	"polity.run/tool/coordination"
)

func (a *app) newTools() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tools", Short: "List, accept and try tools", Long: "List, accept and try tools.",
		Example: "  polity tools list\n  polity tools accept desk.yaml\n  polity tools call desk.yaml crm.find '{\"name\": \"Ada\"}'", Args: noSubcommand, RunE: help,
	}
	cmd.AddCommand(a.newToolsList(), a.newToolsAccept(), a.newToolsCall())
	return cmd
}

func (a *app) newToolsList() *cobra.Command {
	var output *choice
	cmd := &cobra.Command{
		Use: "list [MANIFEST]", Short: "List the built-in tools, and those that a manifest declares",
		Example: "  polity tools list\n  polity tools list desk.yaml -o json", Args: args(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			env, err := a.environment()
			if err != nil {
				return err
			}
			var specs []tool.Spec
			for _, s := range env.Tools {
				specs = append(specs, s)
			}
			slices.SortFunc(specs, func(x, y tool.Spec) int { return strings.Compare(x.Name, y.Name) })
			if len(args) == 1 {
				m, err := a.load(args[0])
				if err != nil {
					return err
				}
				for _, s := range m.Release.Sources {
					specs = append(specs, s.Specs...)
				}
			}
			if output.value == "json" {
				return a.writeJSON(map[string]any{"tools": specs})
			}
			var rows [][]string
			for _, s := range specs {
				first, _, _ := strings.Cut(s.Description, "\n")
				rows = append(rows, []string{s.Name, string(s.Effect), clean(shorten(first, 100))})
			}
			return a.out([]byte(table(rows)))
		},
	}
	output = outputFlag(cmd, "text", "text", "json")
	return cmd
}

const acceptHelp = `Accept the tools of MCP servers as they are now.

What a server says of its tools is told to models, and it may say something else tomorrow. So
its tools are used only as somebody accepted them: this command connects to the servers that
the manifest declares (all, or the SOURCEs that are named), shows each tool that is new or has
changed in full, with what should be looked at twice, asks, and writes ` + manifest.LockName + `
beside the manifest. Keep that file with the manifest.

Without a terminal nothing is accepted unless --yes is given.`

func (a *app) newToolsAccept() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "accept MANIFEST [SOURCE...]", Short: "Accept the tools of MCP servers as they are now", Long: acceptHelp,
		Example: "  polity tools accept desk.yaml\n  polity tools accept desk.yaml files --yes", Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, done := a.interruptible(cmd.Context())
			defer done()
			return a.accept(ctx, args[0], args[1:], yes)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "accept without asking, also what should be looked at twice")
	return cmd
}

func (a *app) accept(ctx context.Context, path string, only []string, yes bool) error {
	path, servers, err := manifest.Servers(path)
	if err != nil {
		return err
	}
	lock, err := manifest.ReadLock(path)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	var names []string
	for _, s := range servers {
		known[s.Name] = true
		names = append(names, s.Name)
	}
	slices.Sort(names)
	for _, name := range only {
		if !known[name] {
			return fault.NotFound.New("%s declares no MCP server %q among %s%s", path, name, strings.Join(names, ", "), suggest(name, names))
		}
	}
	if len(servers) == 0 {
		return fault.NotFound.New("%s declares no MCP server", path)
	}
	slices.SortFunc(servers, func(x, y tool.Source) int { return strings.Compare(x.Name, y.Name) })
	news := 0
	for _, s := range servers {
		if len(only) > 0 && !slices.Contains(only, s.Name) {
			continue
		}
		specs, signs, err := engine.Offered(ctx, s)
		if err != nil {
			return err
		}
		n, err := a.showTools(lock.Sources[s.Name].Tools, specs, signs)
		if err != nil {
			return err
		}
		news += n
		lock.Sources[s.Name] = manifest.Accepted{From: manifest.From(s), Tools: specs}
	}
	for name := range lock.Sources {
		if !known[name] {
			delete(lock.Sources, name)
		}
	}
	if news > 0 && !yes {
		if err := a.confirm(ctx, fmt.Sprintf("Accept %s? [y/N] ", count(news, "change"))); err != nil {
			return err
		}
	}
	if err := lock.Write(path); err != nil {
		return err
	}
	a.screen.say("accepted: %s", count(news, "change"))
	return nil
}

// showTools shows what is new, other and gone, and returns how much that is.
func (a *app) showTools(old, now []tool.Spec, signs map[string][]string) (n int, err error) {
	before := map[string]tool.Spec{}
	for _, s := range old {
		before[s.Name] = s
	}
	show := func(format string, args ...any) {
		n++
		if err == nil {
			err = a.outf(format, args...)
		}
	}
	for _, s := range now {
		earlier, was := before[s.Name]
		delete(before, s.Name)
		switch {
		case !was:
			show("new      %s (effect %s)\n%s\n  input: %s\n", clean(s.Name), s.Effect, indent(s.Description), clean(string(s.Input)))
		case earlier.Digest() != s.Digest():
			show("changed  %s\n%s\n", clean(s.Name), indent(engine.Changed(earlier, s)))
		default:
			continue
		}
		for _, sign := range signs[s.Name] {
			if err == nil {
				err = a.outf("  LOOK TWICE: %s\n", clean(sign))
			}
		}
	}
	for name := range before {
		show("gone     %s\n", clean(name))
	}
	return n, err
}

// indent writes foreign text so that it cannot pass for ours, with what is invisible in it made visible.
func indent(text string) string {
	return "  | " + strings.ReplaceAll(cleanLines(text), "\n", "\n  | ")
}

// confirm asks a person at the terminal.
func (a *app) confirm(ctx context.Context, question string) error {
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return fault.Denied.New("nothing is accepted: there is no terminal to ask at; look at the list, and give --yes")
	}
	a.screen.put(question)
	said := make(chan string, 1)
	go func() { // a read from a terminal ends with the process
		in := bufio.NewScanner(f)
		in.Scan()
		said <- in.Text()
	}()
	select {
	case text := <-said:
		if text = strings.ToLower(strings.TrimSpace(text)); text == "y" || text == "yes" {
			return nil
		}
		return fault.Denied.New("nothing is accepted")
	case <-ctx.Done():
		return fault.Cancelled.New("%w", context.Cause(ctx))
	}
}

func (a *app) newToolsCall() *cobra.Command {
	var in, as string
	cmd := &cobra.Command{
		Use: "call MANIFEST TOOL [INPUT]", Short: "Call one tool outside of any run, with the checks of a run",
		Long: "Call one tool outside of any run, with the checks of a run. What the tool does, it does.\n\nINPUT is JSON, or @FILE, or @- for stdin; left out it is {}." +
			"\nThe tools lock, leader, counter and value are called on the node that serves the state folder, each\ntime as a new call of the manifest's organization, for up to 30s.",
		Example: "  polity tools call desk.yaml crm.find '{\"name\": \"Ada\"}'\n  polity tools call desk.yaml files.read '{\"path\": \"go.mod\"}' --in .",
		Args:    args(cobra.RangeArgs(2, 3)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ctx, done := a.interruptible(cmd.Context())
			defer done()
			m, err := a.load(args[0])
			if err != nil {
				return err
			}
			call := tool.Call{Key: "0-by-hand#" + args[1], Input: json.RawMessage("{}")}
			if len(args) == 3 {
				if call.Input, err = a.inputText(args[2]); err != nil {
					return err
				}
			}
			if in != "" {
				if call.Folder, err = realFolder(in); err != nil {
					return err
				}
			}
			if slices.Contains(coordination.Names(), args[1]) {
				return a.coordinate(cmd.Context(), &m.Release, args[1], as, call.Input)
			}
			e, err := engine.Equip(&m.Release)
			if err != nil {
				return err
			}
			defer closeInto(&err, e)
			out, err := e.Call(ctx, args[1], call)
			if err != nil {
				return err
			}
			return a.writeJSON(out)
		},
	}
	cmd.Flags().StringVar(&in, "in", "", "folder that the tool may read, and no other")
	cmd.Flags().StringVar(&as, "as", "", "the agent that locks are asked for, and whose proposal a value is")
	return cmd
}
