package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/fault"
)

const (
	hashShown = 12 // digits of an action's hash that are shown, and name it
	hashLeast = 6  // digits of it that name it
)

const approvalsHelp = `See and decide what waits for approval.

An agent whose manifest says "approve:" does not use those tools and agents before somebody has let
exactly that go: this tool, with this input. What is approved is bound to the hash of what was shown.

ID is the first digits of the hash, as "polity approvals list" shows it, the key, or its run's ID if that asks only
one thing. A hash says most: it cannot mean another action than the one that was looked at.`

func (a *app) newApprovals() *cobra.Command {
	cmd := &cobra.Command{
		Use: "approvals", Short: "See and decide what waits for approval", Long: approvalsHelp,
		Example: "  polity approvals list\n  polity approvals approve 3fa9c1d2e4b5", Args: noSubcommand, RunE: help,
	}
	cmd.AddCommand(a.newApprovalsList(), a.newApprovalsShow(), a.newApprove(), a.newDeny(), a.newApprovalsHistory())
	return cmd
}

func (a *app) newApprovalsList() *cobra.Command {
	var output *choice
	cmd := &cobra.Command{
		Use: "list", Short: "List what waits for approval", Long: "List what waits for approval, the oldest first.",
		Example: "  polity approvals list\n  polity approvals list -o json", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withApprovals(cmd.Context(), func(ctx context.Context, n node, open []polity.Question) error {
				if output.value == "json" {
					return a.writeJSON(map[string]any{"approvals": open})
				}
				if len(open) == 0 {
					return a.nobodyAsks(ctx, n, "nothing waits for approval")
				}
				for _, q := range open {
					to := q.Approval.Action
					if err := a.outf("%.*s  %s  %s wants %s  %s  %s\n", hashShown, clean(q.Approval.Hash), clean(string(q.Agent)),
						clean(string(q.Approval.Agent)), clean(to.To()), clean(q.Key), moment(q.Since)); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	output = outputFlag(cmd, "text", "text", "json")
	return cmd
}

func (a *app) newApprovalsShow() *cobra.Command {
	var output *choice
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show exactly what is to be done",
		Long:    "Show exactly what is to be done: the tool or agent, its input, who wants it, and why they say so.",
		Example: "  polity approvals show 3fa9c1d2e4b5\n  polity approvals show k3j2 -o json", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withApprovals(cmd.Context(), func(_ context.Context, _ node, open []polity.Question) error {
				q, err := meantApproval(open, args[0])
				if err != nil {
					return err
				}
				if output.value == "json" {
					return a.writeJSON(q)
				}
				return a.outf("%s\n", approvalText(q))
			})
		},
	}
	output = outputFlag(cmd, "text", "text", "json")
	return cmd
}

func (a *app) newApprove() *cobra.Command {
	var d polity.Decision
	cmd := &cobra.Command{
		Use: "approve ID", Short: "Let an action go",
		Long: "Let an action go: exactly the one that is shown, once. With --hash it is refused as a conflict if the action is not the one\n" +
			"that was looked at.",
		Example: "  polity approvals approve 3fa9c1d2e4b5\n  polity approvals approve k3j2 --hash 3fa9c1d2e4b5 --reason 'as agreed'",
		Args:    args(cobra.ExactArgs(1)),
	}
	hash := cmd.Flags().String("hash", "", "the first digits of the hash of what was looked at")
	cmd.Flags().StringVar(&d.Reason, "reason", "", "why, for the log")
	cmd.Flags().BoolVar(&d.Always, "always-for-this-run", false, "the same with the same input needs no more asking in this run")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withApprovals(cmd.Context(), func(ctx context.Context, n node, open []polity.Question) error {
			q, err := meantApproval(open, args[0])
			switch {
			case err != nil:
				return err
			case *hash != "" && (len(*hash) < hashLeast || !strings.HasPrefix(q.Approval.Hash, *hash)):
				return fault.Conflict.New("%s asks now about the action %.*s, not %s; look at it with: polity approvals show %.*s",
					q.Key, hashShown, q.Approval.Hash, *hash, hashShown, q.Approval.Hash)
			}
			d.Approve, d.Hash = true, q.Approval.Hash
			if err := decide(ctx, n, q, d); err != nil {
				return err
			}
			a.screen.say("approved:\n%s", approvalText(q))
			return nil
		})
	}
	return cmd
}

func (a *app) newDeny() *cobra.Command {
	d := polity.Decision{}
	cmd := &cobra.Command{
		Use: "deny ID --reason WHY", Short: "Do not let an action go", Long: "Do not let an action go. Who wanted it is told the reason, and goes on without it.",
		Example: "  polity approvals deny 3fa9c1d2e4b5 --reason 'the amount is wrong'", Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&d.Reason, "reason", "", "why, for whoever wanted it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if strings.TrimSpace(d.Reason) == "" {
			return usagef("--reason is missing: who wanted it can only do better if they know why")
		}
		return a.withApprovals(cmd.Context(), func(ctx context.Context, n node, open []polity.Question) error {
			q, err := meantApproval(open, args[0])
			if err != nil {
				return err
			}
			d.Hash = q.Approval.Hash
			if err := decide(ctx, n, q, d); err != nil {
				return err
			}
			a.screen.say("denied %s", clean(q.Key))
			return nil
		})
	}
	return cmd
}

// withApprovals does something with the questions that ask for approval. One that shows another action than its hash is of is an error.
func (a *app) withApprovals(ctx context.Context, fn func(context.Context, node, []polity.Question) error) error {
	return a.with(ctx, func(ctx context.Context, n node) error {
		all, err := n.Questions(ctx)
		if err != nil {
			return err
		}
		open := []polity.Question{}
		for _, q := range all {
			if q.Approval == nil {
				continue
			}
			if err := q.Approval.Check(); err != nil {
				return fault.Damaged.New("question %s: %w", q.Key, err)
			}
			open = append(open, q)
		}
		return fn(ctx, n, open)
	})
}

// meantApproval returns the question that a text means.
func meantApproval(open []polity.Question, text string) (polity.Question, error) {
	var found []polity.Question
	for _, q := range open {
		if len(text) >= hashLeast && strings.HasPrefix(q.Approval.Hash, text) {
			found = append(found, q)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	key, err := meant(open, text)
	switch {
	case err == nil:
	case len(found) > 1:
		return polity.Question{}, fault.Invalid.New("%d runs want the action %s, as %s; write the key", len(found), text, found[0].Key)
	case errors.Is(err, fault.NotFound):
		return polity.Question{}, fault.NotFound.New("%q does not wait for approval, or not any more; see: polity approvals list", text)
	default:
		return polity.Question{}, err
	}
	for _, q := range open {
		if q.Key == key {
			return q, nil
		}
	}
	return polity.Question{}, fault.NotFound.New("%q does not wait for approval; see: polity approvals list", text)
}

// decide answers a question that asks for approval.
func decide(ctx context.Context, n node, q polity.Question, d polity.Decision) error {
	data, err := json.Marshal(d)
	if err != nil {
		return fault.Internal.New("write JSON: %w", err)
	}
	return n.Answer(ctx, q.Key, data)
}

// approvalText shows an action to whoever decides, whole: what is not seen cannot be approved. What the agent says of it comes last.
func approvalText(q polity.Question) string {
	p := q.Approval
	what, effect := "tool    "+clean(p.Action.Tool), string(p.Action.Effect)
	if p.Action.Tool == "" {
		what = "agent   " + strings.TrimSpace(clean(string(p.Action.Agent))+" "+clean(p.Action.Skill))
	}
	if effect == "" {
		effect = "not known"
	}
	var input bytes.Buffer
	if json.Indent(&input, p.Action.Input, "          ", "  ") != nil {
		input.Write(p.Action.Input) // it was checked, so this cannot be
	}
	text := fmt.Sprintf("  %s\n  effect  %s\n  input   %s\n  agent   %s\n  run     %s\n  asked   %s\n  since   %s\n  hash    %s", what, clean(effect),
		visible(input.String()), clean(string(p.Agent)), clean(string(p.Run)), clean(string(q.Agent)), moment(q.Since), clean(p.Hash))
	if q.Ask != "" {
		text += "\n  note    " + clean(q.Ask)
	}
	if p.Why != "" {
		text += "\n  it says " + clean(shorten(p.Why, askShown))
	}
	return text + "\n  key     " + clean(q.Key)
}

// visible writes characters of JSON that show nothing, or turn what follows around, as escapes.
func visible(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r == '\n' || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, u := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, u)
		}
	}
	return b.String()
}

// decision reads what a person types: yes, always, or no with a reason. False for anything else.
func decision(text, hash string) (polity.Decision, bool) {
	word, reason, _ := strings.Cut(strings.TrimSpace(text), " ")
	d := polity.Decision{Hash: hash, Reason: strings.TrimSpace(reason)}
	switch strings.ToLower(strings.TrimRight(word, ",.:;")) {
	case "y", "yes", "approve":
		d.Approve = true
	case "always":
		d.Approve, d.Always = true, true
	case "n", "no", "deny":
	default:
		return d, false
	}
	return d, true
}
