package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"polity.run/agent"
	"polity.run/client"
	"polity.run/coordinate"
	"polity.run/fault"
)

// coordinate calls a tool by which agents coordinate, as a new call.
func (a *app) coordinate(ctx context.Context, r *agent.Release, tool, as string, input json.RawMessage) error {
	if as != "" {
		if err := checkMember(r, as); err != nil {
			return err
		}
	}
	q := client.Coordination{Do: client.CoordinateCall, Org: r.Name, Tool: tool, Agent: as, Key: rand.Text(), Input: input}
	return a.withNode(ctx, a.connect, func(ctx context.Context, n node) error {
		done, err := n.Coordinate(ctx, q)
		if err != nil {
			return err
		}
		return a.writeJSON(done.Output)
	})
}

const locksHelp = `List, show and release the locks of organizations, and who leads.

Agents ask for locks with the tools lock.acquire and leader.campaign. A lock is held for a time and ends by itself; its token
grows with every holder. What is done under a lock is safe where smaller tokens are refused.`

// whichLock says which locks are meant.
type whichLock struct {
	org, name string
	kind      choice
}

func (w *whichLock) flags(cmd *cobra.Command) {
	w.kind.allowed = []string{string(coordinate.KindLock), string(coordinate.KindLeader)}
	cmd.Flags().StringVar(&w.org, "org", "", "of this organization, by the name in its manifest (default all)")
	cmd.Flags().Var(&w.kind, "kind", "only lock|leader")
}

// list returns the locks that are meant.
func (w *whichLock) list(ctx context.Context, n node) ([]coordinate.Lock, error) {
	all, err := n.Coordinate(ctx, client.Coordination{Do: client.CoordinateList, Org: w.org})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(append([]coordinate.Lock{}, all.Locks...), func(l coordinate.Lock) bool {
		return w.name != "" && l.Name != w.name || w.kind.value != "" && string(l.Kind) != w.kind.value
	}), nil
}

// one returns the lock that is meant.
func (w *whichLock) one(ctx context.Context, n node) (coordinate.Lock, error) {
	list, err := w.list(ctx, n)
	switch {
	case err != nil:
		return coordinate.Lock{}, err
	case len(list) == 0:
		return coordinate.Lock{}, fault.NotFound.New("there is no such lock %q; see: polity locks list", w.name)
	case len(list) > 1:
		return coordinate.Lock{}, fault.Invalid.New("%d locks are named %q, as the %s of %s and the %s of %s; name one with --org and --kind",
			len(list), w.name, list[0].Kind, list[0].Org, list[1].Kind, list[1].Org)
	}
	return list[0], nil
}

// withLock does something with the one lock that is meant.
func (a *app) withLock(ctx context.Context, which *whichLock, name string, do func(ctx context.Context, n node, l coordinate.Lock) error) error {
	which.name = name
	return a.with(ctx, func(ctx context.Context, n node) error {
		l, err := which.one(ctx, n)
		if err != nil {
			return err
		}
		return do(ctx, n, l)
	})
}

func (a *app) newLocks() *cobra.Command {
	cmd := &cobra.Command{
		Use: "locks", Short: "List, show and release locks, and who leads", Long: locksHelp,
		Example: "  polity locks list --org desk\n  polity locks show ledger\n  polity locks release ledger --yes",
		Args:    noSubcommand, RunE: help,
	}
	cmd.AddCommand(a.newLocksList(), a.newLocksShow(), a.newLocksRelease())
	return cmd
}

func (a *app) newLocksList() *cobra.Command {
	var which whichLock
	cmd := &cobra.Command{
		Use: "list", Short: "List locks and leaders", Args: args(cobra.NoArgs),
		Example: "  polity locks list\n  polity locks list --org desk --kind leader -o json",
	}
	which.flags(cmd)
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			list, err := which.list(ctx, n)
			if err != nil {
				return err
			}
			if output.value == "json" {
				return a.writeJSON(map[string]any{"locks": list})
			}
			if len(list) == 0 {
				a.screen.say("note: there are no such locks")
				return nil
			}
			rows := [][]string{{"ORGANIZATION", "KIND", "NAME", "TOKEN", "UNTIL", "HOLDER"}}
			for _, l := range list {
				until := ""
				if l.Held {
					until = moment(l.Until)
				}
				rows = append(rows, []string{clean(l.Org), string(l.Kind), clean(l.Name), token(l), until, holder(l)})
			}
			return a.out([]byte(table(rows)))
		})
	}
	return cmd
}

func token(l coordinate.Lock) string { return strconv.FormatUint(l.Token, 10) }

// holder words who holds a lock.
func holder(l coordinate.Lock) string {
	switch {
	case !l.Held:
		return "nobody"
	case l.Holder.Agent == "":
		return clean("run " + string(l.Holder.Run))
	default:
		return clean(fmt.Sprintf("%s of run %s", l.Holder.Agent, l.Holder.Run))
	}
}

func (a *app) newLocksShow() *cobra.Command {
	var which whichLock
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show who holds a lock, since when and until when", Args: args(cobra.ExactArgs(1)),
		Example: "  polity locks show ledger\n  polity locks show ledger --org desk -o json",
	}
	which.flags(cmd)
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withLock(cmd.Context(), &which, args[0], func(_ context.Context, _ node, l coordinate.Lock) error {
			if output.value == "json" {
				return a.writeJSON(l)
			}
			rows := [][]string{
				{"name", clean(l.Name)}, {"kind", string(l.Kind)}, {"organization", clean(l.Org)}, {"holder", holder(l)}, {"token", token(l)},
			}
			if l.Held {
				rows = append(rows, []string{"since", moment(l.Since)}, []string{"until", moment(l.Until)})
			}
			return a.out([]byte(table(rows)))
		})
	}
	return cmd
}

const releaseHelp = `Take a lock away from whoever holds it.

The holder is not asked and not told: it learns it when it renews the lock. Its token is raised, so that the holder's is
refused wherever tokens are looked at; what it does elsewhere it may still do. --yes is needed.`

func (a *app) newLocksRelease() *cobra.Command {
	var which whichLock
	var yes bool
	cmd := &cobra.Command{
		Use: "release NAME", Short: "Take a lock away from its holder", Long: releaseHelp, Args: args(cobra.ExactArgs(1)),
		Example: "  polity locks release ledger --yes\n  polity locks release desk --kind leader --org shop --yes",
	}
	which.flags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "take it away")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withLock(cmd.Context(), &which, args[0], func(ctx context.Context, n node, l coordinate.Lock) error {
			if !yes {
				return fault.Denied.New("%s %s is held by %s; it goes on as if it held it until it renews. Give --yes to take it away", l.Kind, clean(l.Name), holder(l))
			}
			done, err := n.Coordinate(ctx, client.Coordination{Do: client.CoordinateRelease, Org: l.Org, Kind: l.Kind, Name: l.Name})
			if err != nil {
				return err
			}
			return a.outf("%s %s of %s: was held by %s; token %s\n", l.Kind, clean(l.Name), clean(l.Org), holder(l), token(done.Locks[0]))
		})
	}
	return cmd
}
