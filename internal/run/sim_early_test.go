package run

import (
	"slices"

	"polity.run"
)

// checkEarly wants nothing but effects of class none to begin before the log has what asks for them.
func (o *owner) checkEarly(p *pending) {
	var f frame
	durable := false
	for _, e := range slices.Backward(o.w.log) {
		if err := f.decode(e.data); err != nil {
			o.w.fail("%v", err)
		}
		durable = slices.ContainsFunc(f.records, func(r record) bool {
			return r.kind == recOpened && r.run == p.run.id || r.kind == recForked && r.run == p.run.id.Root()
		})
		if durable {
			return
		}
	}
	if p.work.Class != polity.EffectNone || p.work.Early == nil {
		o.w.fail("%s of %s begins before its run is durable", p.key, p.run.id)
	}
	o.w.stats.early++
}
