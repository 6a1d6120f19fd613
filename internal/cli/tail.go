package cli

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/fault"
)

func (a *app) newRunsTail() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tail ID", Short: "Follow a run until it ends", Args: args(cobra.ExactArgs(1)),
		Long:    "Follow a run until it ends: a line for each thing that happened and happens, and with -o json each as JSON.\n\nIf no process goes on with the run, what happened so far is all.",
		Example: "  polity runs tail 0-k3j2\n  polity runs tail 0-k3j2 -o json | jq .kind",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t := tail{app: a, asJSON: output.value == "json"}
		return a.with(cmd.Context(), func(ctx context.Context, n node) error { return t.from(ctx, n, args[0]) })
	}
	return cmd
}

// tail prints what happens to a run, each thing once, from however many processes it hears of it.
type tail struct {
	*app
	asJSON bool
	tree   *tree
	part   polity.RunID // only this step and what is below it; the root for everything

	commit, at uint64 // the commit of the last notice that was printed, and of the last that was heard
	told, n    int    // how many of that commit
}

func (t *tail) from(ctx context.Context, n node, text string) error {
	s, part, err := find(ctx, n, text)
	if err != nil {
		return err
	}
	if t.tree == nil {
		t.tree, t.part = newTree(s.ID), part
	}
	t.at, t.n = 0, 0
	if _, alone := n.(*local); alone && s.Status == polity.StatusRunning {
		t.screen.say("note: no process goes on with run %s; polity runs resume %s does", s.ID, clean(string(polity.RunID(text).Root())))
		return n.History(ctx, s.ID, t.put)
	}
	return n.Tail(ctx, s.ID, t.put)
}

func (t *tail) put(n polity.Notice) error {
	s, changed := t.tree.apply(n)
	if !t.news(n) || s == nil || s.id != t.part && !strings.HasPrefix(string(s.id), string(t.part)+"/") {
		return nil
	}
	if t.asJSON {
		n.Data, n.Effect = nil, nil
		data, err := json.Marshal(n)
		if err != nil {
			return fault.Internal.New("write JSON: %w", err)
		}
		return t.out(append(data, '\n'))
	}
	if changed == changeNone {
		return nil
	}
	if line := t.tree.event(s, changed, n.At); line != "" {
		return t.outf("%s\n", line)
	}
	return nil
}

// news says whether a notice was not printed yet. Every process tells of a run from its beginning, in the order of
// the log, but for what is not in the log.
func (t *tail) news(n polity.Notice) bool {
	if n.Kind == "started" {
		return true
	}
	if n.Commit != t.at {
		t.at, t.n = n.Commit, 0
	}
	t.n++
	if n.Commit < t.commit || n.Commit == t.commit && t.n <= t.told {
		return false
	}
	t.commit, t.told = n.Commit, t.n
	return true
}
