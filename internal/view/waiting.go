package view

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"polity.run"
	"polity.run/internal/filter"
)

// What a run waits for follows from what its code decides, and is not in the log. So the view gives the runs that have not ended, in the order that is
// asked for, and the kernel says which of them wait for it.
const (
	waitChunk = 500    // runs that the kernel is asked about at once
	waitMax   = 20_000 // runs that it is asked about for one page, which may be short therefore
)

// apart takes out of a filter what only the kernel can tell.
func apart(terms []filter.Term) (rest, waits []filter.Term) {
	for _, t := range terms {
		if t.Field == waitingField {
			waits = append(waits, t)
		} else {
			rest = append(rest, t)
		}
	}
	return rest, waits
}

// waiting lists runs by what they wait for.
func (o *question) waiting(ctx context.Context, found *polity.Found) error {
	limit := o.q.Limit
	defer func() { o.q.Limit = limit }()
	o.q.Limit = waitChunk
	for asked := 0; ; asked += waitChunk {
		chunk, places, more, err := o.going(ctx)
		if err != nil {
			return err
		}
		fits, err := o.whoWaits(ctx, chunk)
		if err != nil {
			return err
		}
		for i, fit := range fits {
			if fit {
				found.Runs = append(found.Runs, chunk[i])
			}
			full := len(found.Runs) == limit || i == len(fits)-1 && asked+waitChunk >= waitMax
			if full && (more || i < len(fits)-1) {
				found.Next, err = o.next(places[i])
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

// going lists runs that have not ended, and their places.
func (o *question) going(ctx context.Context) (list []polity.RunRow, places []place, more bool, err error) {
	l, err := o.runList(ctx, "r.status = 0")
	if err != nil {
		return nil, nil, false, err
	}
	l.all = "" // there are not many
	l.scan = func(rows *sql.Rows, at ...any) error {
		var r polity.RunRow
		err := scanRun(rows, &r, at)
		list, places = append(list, r), append(places, place{*at[0].(*int64), *at[1].(*int64)})
		return err
	}
	var found polity.Found
	_, err = o.part(ctx, &found, l, nil)
	return list, places, found.Next != "", err
}

// whoWaits says of each of the runs whether it waits for what is asked.
func (o *question) whoWaits(ctx context.Context, list []polity.RunRow) ([]bool, error) {
	var roots []polity.RunID
	for _, r := range list {
		if root := r.ID.Root(); len(roots) == 0 || roots[len(roots)-1] != root {
			roots = append(roots, root)
		}
	}
	now, err := o.live.Current(ctx, roots)
	if err != nil {
		return nil, err
	}
	fits := make([]bool, len(list))
	for i, r := range list {
		waits := slices.DeleteFunc(slices.Clone(now[r.ID.Root()].Waiting), func(w polity.Waiting) bool {
			return w.Run != r.ID && !strings.HasPrefix(string(w.Run), string(r.ID)+"/")
		})
		fits[i] = !slices.ContainsFunc(o.waits, func(t filter.Term) bool { return !waitsFor(t, waits) })
	}
	return fits, nil
}

// waitsFor says whether a term holds of what a run waits for.
func waitsFor(t filter.Term, waits []polity.Waiting) bool {
	fits := slices.ContainsFunc(waits, func(w polity.Waiting) bool {
		return slices.ContainsFunc(t.Values, func(v filter.Value) bool {
			return w.For == v.Text || strings.HasPrefix(w.For, v.Text+" ") || v.Prefix && strings.HasPrefix(w.For, v.Text)
		})
	})
	return fits != (t.Negated != (t.Op == filter.Not))
}
