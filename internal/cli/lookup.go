package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/filter"
	tables "polity.run/internal/view"
)

const (
	lookupStep = time.Second      // a view that is behind is asked again after this
	waitElse   = 30 * time.Second // for a view that is behind
)

// lookupOptions are the flags of what is asked of the view.
type lookupOptions struct {
	limit int // 0 for all
	after string
	wait  time.Duration
}

func lookupFlags(cmd *cobra.Command, what string) *lookupOptions {
	o := &lookupOptions{}
	cmd.Flags().IntVar(&o.limit, "limit", listDefault, "list at most so many "+what+"; 0 for all")
	cmd.Flags().StringVar(&o.after, "after", "", "list those after a page, as it was named at the end of that")
	waitFlag(cmd, o)
	return o
}

func waitFlag(cmd *cobra.Command, o *lookupOptions) {
	cmd.Flags().DurationVar(&o.wait, "wait", waitElse, "how long to wait for the view to have read the log; then the answer says what it lacks")
}

// fieldsHelp lists the fields of a filter.
func fieldsHelp(of polity.LookupOf) string {
	forms := map[filter.Kind]string{
		filter.Number: "number, as 1000 or 10k", filter.Money: "US dollars, as 0.5", filter.Span: "duration, as 90s or 2d",
		filter.Moment: "time: -1h, -7d, 2026-11-25 or RFC 3339",
	}
	var rows [][]string
	for _, f := range tables.Fields(of) {
		form := forms[f.Kind]
		if f.Kind == filter.Choice {
			form = strings.Join(f.Choices, "|")
		}
		if form != "" {
			form = " (" + form + ")"
		}
		rows = append(rows, []string{"  " + f.Name, f.Doc + form})
	}
	return strings.TrimRight(table(rows), "\n")
}

// lookup asks the view once it has read the log, and says so if it does not come that far in time.
func (a *app) lookup(ctx context.Context, n node, q polity.Lookup, wait time.Duration) (polity.Found, error) {
	if wait < 0 {
		return polity.Found{}, usagef("--wait is negative")
	}
	for began := time.Now(); ; {
		left := wait - time.Since(began)
		q.Wait = polity.Duration(max(min(left, lookupStep), time.Millisecond))
		found, err := n.Lookup(ctx, q)
		if err != nil || found.View.Behind == 0 {
			return found, err
		}
		if q.Position == 0 {
			q.Position = found.View.Tip // what comes in meanwhile is not waited for
		}
		if found.View.Position >= q.Position {
			return found, nil
		}
		if left <= 0 || found.View.Problem != "" {
			a.screen.say("note: %s", behind(found.View))
			return found, nil
		}
		a.screen.say("note: the view reads the log: %s", readSoFar(found.View))
	}
}

// behind words what an answer lacks.
func behind(v polity.ViewState) string {
	text := fmt.Sprintf("the view is %s behind", count(int(v.Behind), "commit"))
	if v.Lag > 0 {
		text += " (" + seconds(time.Duration(v.Lag)) + ")"
	}
	if v.Problem != "" {
		text += " and does not go on: " + clean(v.Problem)
	}
	return text
}

func readSoFar(v polity.ViewState) string {
	return fmt.Sprintf("%d of %s (%d %%)", v.Position, count(int(v.Tip), "commit"), 100*v.Position/max(v.Tip, 1))
}

// pages asks the view of a node that has runs already, for as many pages as the limit wants. add takes an answer and returns how many rows there
// are by now. Where nothing ran yet it says so, and nothing is added.
func (a *app) pages(ctx context.Context, q polity.Lookup, o *lookupOptions, add func(polity.Found) int) error {
	if o.limit < 0 {
		return usagef("--limit is negative")
	}
	q.After = o.after
	have := 0
	err := a.with(ctx, func(ctx context.Context, n node) error {
		for {
			q.Limit = polity.LookupLimitMax
			if o.limit > 0 {
				q.Limit = min(q.Limit, o.limit-have)
			}
			found, err := a.lookup(ctx, n, q, o.wait)
			if err != nil {
				return err
			}
			have = add(found)
			q.After = found.Next
			if q.After == "" || o.limit > 0 && have >= o.limit {
				return nil
			}
		}
	})
	if errors.Is(err, fault.NotFound) {
		a.screen.say("note: %s", clean(err.Error()))
		return nil
	}
	if err == nil && q.After != "" {
		a.screen.say("note: there are more: --after %s", q.After)
	}
	return err
}
