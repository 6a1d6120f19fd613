package polity

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"

	"polity.run/fault"
)

// ApproveSkill is what a person is asked when an action waits for them. Every agent of kind human has it without declaring it, and no
// manifest can declare or ask it: its name is no name of a manifest. So a question with this skill is always the kernel's own.
const ApproveSkill = "polity.approve"

// DecisionSchema is the JSON Schema of a Decision.
const DecisionSchema = `{"type":"object","additionalProperties":false,"required":["approve"],"properties":{` +
	`"approve":{"type":"boolean","description":"Whether exactly this action may be done."},` +
	`"hash":{"type":"string","description":"The hash of the action, as it was shown. Without it nothing is approved."},` +
	`"reason":{"type":"string","description":"Why, for whoever wanted it."},` +
	`"by":{"type":"string","description":"Who decides. The door at which the answer comes in writes it, whatever stands there."},` +
	`"always_for_this_run":{"type":"boolean","description":"Whether the same action may be done again in this run without asking."}}}`

// Action is exactly what an agent wants done: a call of a tool, or a question to another agent.
type Action struct {
	Tool   string          `json:"tool,omitempty"`
	Agent  AgentName       `json:"agent,omitempty"`
	Skill  string          `json:"skill,omitempty"` // of the agent
	Effect Effect          `json:"effect,omitempty"`
	Input  json.RawMessage `json:"input"`
}

// To is the tool or the agent.
func (a Action) To() string {
	if a.Tool != "" {
		return a.Tool
	}
	return string(a.Agent)
}

// Canonical returns the action with its input written in the one way in which equal values are equal texts: sorted names, no name twice, no
// space. Numbers stay as they are written. It returns fault.Invalid for an input that is not one JSON value.
func (a Action) Canonical() (Action, error) {
	d := json.NewDecoder(bytes.NewReader(a.Input))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return Action{}, fault.Invalid.New("action %s: input: %w", a.To(), err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Action{}, fault.Invalid.New("action %s: input: more than one JSON value", a.To())
	}
	var err error
	a.Input, err = plainJSON(v)
	return a, err
}

// Hash returns the SHA-256 of the canonical action, in hexadecimal digits. Its errors are those of Canonical.
func (a Action) Hash() (string, error) {
	a, err := a.Canonical()
	if err != nil {
		return "", err
	}
	data, err := plainJSON(a)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte("polity action 1\n"), data...))
	return hex.EncodeToString(sum[:]), nil
}

// plainJSON writes JSON with its text unchanged: <, > and & stay as they are.
func plainJSON(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fault.Internal.New("action: write JSON: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// Approver is who lets actions go, each as it is shown.
type Approver struct {
	By      AgentName `json:"by"`
	Skill   string    `json:"skill"`             // that By is asked: ApproveSkill of a person
	Timeout Duration  `json:"timeout,omitempty"` // after which nothing is approved; 0 for as long as By may take
	Effect  Effect    `json:"effect,omitempty"`  // what the action does to the world, as it is shown; "" is not known
}

// Approval is what somebody is asked to let go.
type Approval struct {
	Action Action    `json:"action"`
	Hash   string    `json:"hash"`  // of the action
	Run    RunID     `json:"run"`   // the run that wants it
	Agent  AgentName `json:"agent"` // whose run it is
	// Why is what the agent's model said when it asked for the action. Nobody has checked it.
	Why string `json:"why,omitempty"`
}

// Check returns nil, or fault.Invalid if the hash is not the action's.
func (a Approval) Check() error {
	hash, err := a.Action.Hash()
	switch {
	case err != nil:
		return err
	case hash != a.Hash:
		return fault.Invalid.New("approval: hash %.12s is not that of the action, %.12s", a.Hash, hash)
	}
	return nil
}

// Decision answers an Approval. Only one that approves and names the action's hash lets it go.
type Decision struct {
	Approve bool   `json:"approve"`
	Hash    string `json:"hash,omitempty"`
	Reason  string `json:"reason,omitempty"`
	By      string `json:"by,omitempty"` // who decided, as the node's door knows them
	// Always says that the same action, with the same input, may be done again in this run without asking.
	Always bool `json:"always_for_this_run,omitempty"`
}

// Approves returns nil if the decision lets an action with the hash go, fault.Conflict if it approves another one, and fault.Denied if it
// denies.
func (d Decision) Approves(hash string) error {
	switch {
	case !d.Approve && d.Reason != "":
		return fault.Denied.New("%s", d.Reason)
	case !d.Approve:
		return fault.Denied.New("no reason was given")
	case d.Hash == "":
		return fault.Conflict.New("it names no hash; an approval is only good for the action with the hash %.12s", hash)
	case d.Hash != hash:
		return fault.Conflict.New("it is for an action with the hash %.12s, and this one has %.12s; look at it again", d.Hash, hash)
	}
	return nil
}

// Approved returns nil if what came back for an Approval lets the action with the hash go, and whether it does so for the rest of the run. Its other
// errors are the event's fault, fault.Invalid for what is no Decision, and those of Decision.Approves.
func (e *Event) Approved(hash string) (always bool, err error) {
	if e.Fault != nil {
		return false, e.Fault
	}
	var d struct {
		Decision
		Approve *bool `json:"approve"`
	}
	if err := json.Unmarshal(e.Data, &d); err != nil || d.Approve == nil {
		return false, fault.Invalid.New("the answer is no decision")
	}
	d.Decision.Approve = *d.Approve
	return d.Always, d.Decision.Approves(hash)
}
