package view

import (
	"context"
	"database/sql"

	"polity.run"
)

// goingMax is how many runs Going looks at: it is asked again and again.
const goingMax = 100_000

// Going counts the root runs that have not ended, by organization and agent, as Load.Running. It tells what the view knows by now; of more than goingMax
// of them the newest are counted. It returns what Lookup does if there is no view now.
func (v *View) Going(ctx context.Context) ([]polity.Load, error) {
	var list []polity.Load
	_, err := v.ask(ctx, &question{v: v, q: &polity.Lookup{Of: polity.LookupRuns, Limit: goingMax}}, func(ctx context.Context, o *question, _ *polity.Found) error {
		_, err := o.rows(ctx, `
			SELECT (SELECT name FROM releases WHERE num = g.release), g.agent, count(*)
			FROM (SELECT release, agent FROM runs WHERE status = 0 AND depth = 0 ORDER BY opened DESC LIMIT ?) g GROUP BY g.release, g.agent`, []any{goingMax}, func(rows *sql.Rows) error {
			var l polity.Load
			err := rows.Scan(&l.Org, &l.Agent, &l.Running)
			list = append(list, l)
			return err
		})
		return err
	})
	return list, err
}
