// Package polity holds the nouns of organizations of agents: what a run is called, what happens to
// it, and what its decider answers.
//
// It exists so that every package speaks of the same things without importing each other. The one
// idea behind all of them:
//
//	a request becomes a run; a run is a log; pure deciders read the log and answer
//	with commands; workers do the commands and append what happened
//
// Start with [Decider]. To run Polity inside a Go program, see package engine.
package polity

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"strings"

	"polity.run/fault"
)

// NameMax is the longest name of an agent, in bytes.
const NameMax = 63

// AgentName names an agent: lower-case letters, digits, '-' and '_', beginning with a letter or
// digit, at most NameMax bytes. It is a single token of a NATS subject, so a name can be used
// there unescaped.
type AgentName string

// Check returns nil or an Invalid fault that says what is wrong with the name.
func (n AgentName) Check() error {
	if n == "" {
		return fault.Invalid.New("agent name is empty")
	}
	if len(n) > NameMax {
		return fault.Invalid.New("agent name %.20q… is longer than %d bytes", string(n), NameMax)
	}
	for i, c := range []byte(n) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case (c == '-' || c == '_') && i > 0:
		default:
			return fault.Invalid.New("agent name %q: %q is not allowed; use a-z, 0-9, '-' and '_'", string(n), string(rune(c)))
		}
	}
	return nil
}

// Base returns the agent that an instance is of, and which: clerk and c-17 of clerk/c-17, and of clerk itself clerk and "".
func (n AgentName) Base() (agent AgentName, instance string) {
	base, instance, _ := strings.Cut(string(n), "/")
	return AgentName(base), instance
}

// CheckAddress returns nil for the name of an agent and for that of an instance, AGENT/INSTANCE of which both are names, and else what Check does.
func (n AgentName) CheckAddress() error {
	base, instance := n.Base()
	if err := base.Check(); err != nil {
		return err
	}
	if len(base) == len(n) {
		return nil
	}
	return AgentName(instance).Check()
}

// RunID names a run: the partition it lives on, a digest, and for a child the path of the command
// that opened it, as in "0-mfrggzdfmztwq2lk" and "0-mfrggzdfmztwq2lk/review/licences~2". A tree of runs
// shares its root's partition. Compare IDs as text.
type RunID string

var runIDText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewRunID returns the ID of a root run on the partition for the seed: the same seed is the same
// run, so a request that is sent twice opens one run.
func NewRunID(partition int, seed []byte) RunID {
	sum := sha256.Sum256(seed)
	return RunID(strconv.Itoa(partition) + "-" + runIDText.EncodeToString(sum[:15]))
}

// Child returns the ID of the run that the named command opens.
func (r RunID) Child(command string, attempt int) RunID {
	return RunID(string(r) + "/" + CommandKey(command, attempt))
}

// Root returns the ID of the tree's root.
func (r RunID) Root() RunID {
	root, _, _ := strings.Cut(string(r), "/")
	return RunID(root)
}

// Parent returns the ID of the run that opened r, and "" for a root.
func (r RunID) Parent() RunID {
	if i := strings.LastIndexByte(string(r), '/'); i >= 0 {
		return r[:i]
	}
	return ""
}

// Partition returns the partition that the ID names, or an Invalid fault if r is not a run's ID.
func (r RunID) Partition() (int, error) {
	p, rest, ok := strings.Cut(string(r.Root()), "-")
	n, err := strconv.Atoi(p)
	if !ok || err != nil || n < 0 || rest == "" {
		return 0, fault.Invalid.New("run ID %q: want PARTITION-DIGEST, as in 0-mfrggzdfmztwq2lk", string(r))
	}
	return n, nil
}

// CommandKey is a command's name and attempt as one word: "fetch" for the first attempt, "fetch~2"
// for the second.
func CommandKey(name string, attempt int) string {
	if attempt <= 1 {
		return name
	}
	return name + "~" + strconv.Itoa(attempt)
}

// EffectKey is the idempotency key of a command's effect: the run, then the command. It goes to the
// destination with the effect and is the same after every crash.
func EffectKey(run RunID, name string, attempt int) string {
	return string(run) + "#" + CommandKey(name, attempt)
}

// ParseEffectKey takes an effect's key apart, or returns an Invalid fault.
func ParseEffectKey(key string) (run RunID, name string, attempt int, err error) {
	id, command, ok := strings.Cut(key, "#")
	name, number, again := strings.Cut(command, "~")
	attempt = 1
	if again {
		attempt, err = strconv.Atoi(number)
	}
	run = RunID(id)
	if _, wrong := run.Partition(); !ok || wrong != nil || name == "" || err != nil || EffectKey(run, name, attempt) != key {
		return "", "", 0, fault.Invalid.New("%.200q is no effect's key: want RUN#COMMAND, as in 0-mfrggzdfmztwq2lk#send", key)
	}
	return run, name, attempt, nil
}
