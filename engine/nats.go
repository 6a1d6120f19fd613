package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/internal/keyring"
	"polity.run/internal/outside"
)

// NATS says where a NATS server or cluster is that a node has its log on, and with what credentials.
type NATS = bus.Server

// NATSPoint is one thing that a node needs of a NATS server, and whether it has it.
type NATSPoint = bus.Point

// NATSMissing is the state of a point without which a node does not start.
const NATSMissing = bus.PointMissing

// NATSRights are the rights that the user of a node needs in its account, and nobody else may have, as nats-server's configuration has them.
func NATSRights(domain string) string {
	return permissions(bus.Rights(domain))
}

// permissions words what a user may do as nats-server's configuration does.
func permissions(publish, subscribe []string) string {
	quoted := func(list []string) string { return `["` + strings.Join(list, `", "`) + `"]` }
	return "permissions: {\n  publish: " + quoted(publish) + "\n  subscribe: " + quoted(subscribe) + "\n}\n"
}

// CheckNATS says what a node has and has not on a NATS server, without changing anything. system, if not nil, is the same server with credentials of its system
// account, which alone knows when a write is on the disk. It returns fault.Invalid for bad settings, fault.Denied for credentials that the server does not take,
// and fault.Unavailable if it cannot be reached.
func CheckNATS(ctx context.Context, s NATS, system *NATS) ([]NATSPoint, error) {
	points, err := bus.Examine(ctx, s, buckets(), system)
	if err != nil {
		return points, err
	}
	return append(points, masterPoint()), nil
}

// masterPoint says whether there is what keys of persons are wrapped by on a server.
func masterPoint() NATSPoint {
	p := NATSPoint{What: "master key", State: bus.PointOK, Text: "given by the environment"}
	key, err := keyring.Given()
	switch {
	case err != nil:
		p.State, p.Text = bus.PointMissing, fault.Of(err).Text
	case key == nil:
		p.State, p.Text = bus.PointWarning, "none is given here, so no run may be about a person (--subject): set "+keyring.MasterFileVariable+" on each machine that the node may run on"
	}
	return p
}

// SetupNATS makes on a NATS server what a node needs, as a user of its account who may; done twice it does nothing. With dry it says what it would do. It returns
// what CheckNATS does.
func SetupNATS(ctx context.Context, s NATS, dry bool) ([]NATSPoint, error) {
	return bus.Setup(ctx, s, buckets(), dry)
}

// buckets are those of a node.
func buckets() []string {
	list := []string{memoryBucket, schemasBucket, orgsBucket, factsBucket, topicsBucket, outside.Bucket, instancesBucket, accessBucket, hooksBucket, documentsBucket, keysBucket}
	slices.Sort(list)
	return list
}

// natsFile in a state folder names the server that its log is on.
const natsFile = "nats"

// natsOf returns the URL of the server that the log of a state folder is on, "" for a folder that has its log in it.
func natsOf(state string) (string, error) {
	text, err := os.ReadFile(filepath.Join(state, natsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fault.Denied.New("state folder: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// openBus opens the embedded server of a state folder, or connects to the one that the configuration names. A folder goes with one of them for good: its documents
// are those of one log.
func openBus(ctx context.Context, state string, cfg Config) (*bus.Bus, error) {
	at, err := natsOf(state)
	if err != nil {
		return nil, err
	}
	store := filepath.Join(state, "store")
	if cfg.NATS == nil {
		if at != "" {
			return nil, fault.Invalid.New("engine: the log of the state folder %s is on the NATS server %s: name it, as with --nats", state, at)
		}
		sync := bus.SyncDisk
		if cfg.Sync == SyncOS {
			sync = bus.SyncOS
		}
		return bus.Open(ctx, bus.Config{Dir: store, Sync: sync})
	}
	if _, err := os.Stat(store); err == nil {
		return nil, fault.Conflict.New("engine: the state folder %s has a log of its own in it: name another folder for the one on %s", state, cfg.NATS.URL)
	}
	b, err := bus.Open(ctx, bus.Config{Server: cfg.NATS, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	if err := admitted(b, cfg); err != nil {
		b.Close()
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(state, natsFile), []byte(cfg.NATS.URL+"\n"), 0o600); err != nil {
		b.Close()
		return nil, fault.Denied.New("engine: state folder: %w", err)
	}
	return b, nil
}

// admitted returns fault.Denied for a server that lets everybody past the links, unless that is what is wanted.
func admitted(b *bus.Bus, cfg Config) error {
	open, err := b.Open()
	if err != nil || !open {
		return err
	}
	if !cfg.Unenforced {
		return fault.Denied.New("engine: %s", bus.Unenforced(cfg.NATS.URL))
	}
	cfg.Log.Warn("links not enforced: the NATS server lets everybody in", "server", cfg.NATS.URL)
	return nil
}

// lags is how long in seconds a log may end before what is known of it: a cluster that has just lost a server needs some to agree.
func lags(cfg Config) int {
	if cfg.NATS == nil {
		return 0
	}
	return 15
}
