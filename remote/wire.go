package remote

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/message"
)

// The protocol beside messages: docs/spec/bus.md.
const (
	BeatEvery = 10 * time.Second // an agent says at least this often that it is there
	GoneAfter = 30 * time.Second // one that says nothing for as long is taken to be gone
	// InstanceMax is the longest name of an instance, and of a version, in bytes.
	InstanceMax = 128
)

// Box is the subject on which an agent is given messages.
func Box(agent polity.AgentName, p polity.Performative) string {
	return "box." + string(agent) + "." + string(p)
}

// Live stands in the place of the performative where an agent is asked live questions: Box(agent, Live).
const Live polity.Performative = "live"

// Answers is the subject on which an agent answers the live question of a token.
func Answers(agent polity.AgentName, token string) string {
	return answers + string(agent) + "." + token
}

const answers = "ans."

// Answered returns whose answer to which live question comes on a subject, false for another subject.
func Answered(subject string) (agent polity.AgentName, token string, ok bool) {
	rest, ok := strings.CutPrefix(subject, answers)
	if !ok {
		return "", "", false
	}
	name, token, ok := strings.Cut(rest, ".")
	return polity.AgentName(name), token, ok
}

// ToLive reads the answer to a live question: inform, or what the header ce-performative says.
func ToLive(header map[string][]string, data []byte) message.Envelope {
	e := message.Envelope{Performative: polity.Inform, DataType: message.JSON, Data: data}
	if said := header[headPerformative]; len(said) == 1 {
		e.Performative = polity.Performative(said[0])
	}
	return e
}

// LiveHeader is the header of an answer to a live question; nil for inform.
func LiveHeader(p polity.Performative) map[string][]string {
	if p == polity.Inform {
		return nil
	}
	return map[string][]string{headPerformative: {string(p)}}
}

const headPerformative = "ce-performative"

// Inbox begins the subjects on which an agent is answered that its messages were taken.
func Inbox(agent polity.AgentName) string { return "_INBOX_" + string(agent) }

// Control is the subject on which an agent speaks of itself.
func Control(agent polity.AgentName, what string) string { return "ctl." + string(agent) + "." + what }

// What an agent says of itself.
const (
	ControlHere  = "here"  // Here
	ControlRenew = "renew" // Renewal
)

// OperatorInbox begins the subjects on which operators are answered.
const OperatorInbox = "_OPS"

// State is what an agent is ready for.
type State string

// The states.
const (
	Serving  State = "serving"
	Draining State = "draining" // it finishes what it has, and takes nothing new
	Gone     State = "gone"     // said as the last thing
	Away     State = "away"     // not said: nobody is there
)

// Here is how an agent says that it is there. One of an unknown field is accepted: an agent may be newer than who listens.
type Here struct {
	Instance string `json:"instance"` // of the process; "" is one like any other
	State    State  `json:"state,omitempty"`
	Version  string `json:"version,omitempty"`
	// Working are the IDs of the questions that it is at work on; nil: it does not say, and is believed.
	Working []string `json:"working,omitzero"`
}

// Renewal asks for new time for a key. One that is not the agent's yet becomes it.
type Renewal struct {
	Key string `json:"key"` // public
}

// Taken answers what an agent sent. Without an error it is safe.
type Taken struct {
	Receipts  []message.Receipt `json:"receipts,omitempty"`  // what became of a message for each of its recipients
	Admission *polity.Admission `json:"admission,omitempty"` // of a renewed key
	Error     *fault.Error      `json:"error,omitempty"`     // why it was not taken
}

// Credentials are what an agent connects with. Their file is for its user alone.
type Credentials struct {
	polity.Admission
	Seed string `json:"seed"` // the private half of the key, which no server is told
}

const credentialsMax = 64 << 10 // bytes of a file

// ReadCredentials reads a file of credentials. It returns fault.NotFound if there is none, fault.Denied if others could have read or
// written it, and fault.Invalid if it cannot be understood.
func ReadCredentials(path string) (Credentials, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		kind := fault.Denied
		if errors.Is(err, fs.ErrNotExist) {
			kind = fault.NotFound
		}
		return Credentials{}, kind.New("credentials: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Credentials{}, fault.Denied.New("credentials: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return Credentials{}, fault.Denied.New("credentials: others may read or write %s (mode %04o, want 0600)", path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, credentialsMax+1))
	if err != nil || len(data) > credentialsMax {
		return Credentials{}, fault.Invalid.New("credentials: %s cannot be read, or is larger than %d bytes", path, credentialsMax)
	}
	c, err := ParseCredentials(data)
	if err != nil {
		return c, fault.Invalid.New("%s: %w", path, err)
	}
	return c, nil
}

// ParseCredentials reads credentials, or returns fault.Invalid.
func ParseCredentials(data []byte) (Credentials, error) {
	var c Credentials
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fault.Invalid.New("credentials: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return c, fault.Invalid.New("credentials: more than one value")
	}
	if err := c.Agent.Check(); err != nil {
		return c, fault.Invalid.New("credentials: %w", err)
	}
	if c.URL == "" || c.Seed == "" {
		return c, fault.Invalid.New("credentials: url or seed is missing")
	}
	return c, nil
}

// Write writes the credentials into a file, whole or not at all, for the user alone.
func (c Credentials) Write(path string) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fault.Internal.New("credentials: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".creds-*") // with mode 0600
	if err != nil {
		return fault.Denied.New("credentials: %w", err)
	}
	_, err = tmp.Write(append(data, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fault.Denied.New("credentials: write %s: %w", path, errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}
