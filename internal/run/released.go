package run

import (
	"context"

	"polity.run"
	"polity.run/fault"
)

// ReleaseOf returns the release that a root run was opened with, or fault.NotFound.
func (p *Partition) ReleaseOf(ctx context.Context, id polity.RunID) (Digest, error) {
	at, err := p.span(ctx, id)
	if err != nil {
		return Digest{}, err
	}
	opened, err := p.Openings(ctx, at.first)
	if err != nil {
		return Digest{}, err
	}
	release, found := opened[id]
	if !found {
		return Digest{}, fault.Damaged.New("run: commit %d does not open run %q", at.first, id)
	}
	return release, nil
}
