package agent

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
)

// The limits of hooks.
const (
	HooksMax         = 100       // of a release
	HookNameMax      = 60        // bytes
	HookWindowMax    = time.Hour // by which a message's time may be off
	HookFieldsMax    = 100
	hookInputMax     = 64 << 10 // bytes
	hookSecretEnvMax = 200      // bytes
)

var (
	hookName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
	hookEnv  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// Hook lets another service have runs opened by signed requests. It is there while its release is the one that is installed.
type Hook struct {
	Name string `json:"name"`
	// Agent is who is asked, "" for the release's main agent, and Skill for what, "" for the only one.
	Agent polity.AgentName `json:"agent,omitempty"`
	Skill string           `json:"skill,omitempty"`
	// SecretEnv is the variable of the node's environment that holds the secret by which requests are signed.
	SecretEnv string          `json:"secret_env"`
	Window    polity.Duration `json:"window,omitempty"` // by which a message's time may be off; 0 is the node's default
	// Where is a condition on messages, whose body is data; others are accepted and do nothing. "" is none: see polity.ParseWhere.
	Where string `json:"where,omitempty"`
	// Fields are those of the run's input, by parts of the message, as in data.order.id; what a message does not have is left out. Empty: the body is the input.
	Fields map[string]string `json:"fields,omitempty"`
	// Input is an object whose fields are added to the run's input, which they do not replace.
	Input json.RawMessage `json:"input,omitempty"`
}

// Check returns fault.Invalid for what can be no hook.
func (h *Hook) Check() error {
	switch {
	case !hookName.MatchString(h.Name) || len(h.Name) > HookNameMax:
		return fault.Invalid.New("hook %.80q: want a name of up to %d of a-z, 0-9, '-' and '_'", h.Name, HookNameMax)
	case !hookEnv.MatchString(h.SecretEnv) || len(h.SecretEnv) > hookSecretEnvMax:
		return fault.Invalid.New("hook %s: secret_env %.80q: want the name of a variable of the environment, as in SHOP_SECRET", h.Name, h.SecretEnv)
	case h.Window < 0 || time.Duration(h.Window) > HookWindowMax:
		return fault.Invalid.New("hook %s: window %s: the most is %s", h.Name, h.Window, HookWindowMax)
	case len(h.Fields) > HookFieldsMax:
		return fault.Invalid.New("hook %s: %d fields; the most is %d", h.Name, len(h.Fields), HookFieldsMax)
	case len(h.Input) > hookInputMax:
		return fault.Invalid.New("hook %s: input: %d bytes; the most is %d", h.Name, len(h.Input), hookInputMax)
	case h.Input != nil && !isObject(h.Input):
		return fault.Invalid.New("hook %s: input: this is not an object", h.Name)
	}
	if _, err := polity.ParseWhere(h.Where); h.Where != "" && err != nil {
		return fault.Invalid.New("hook %s: where: %w", h.Name, err)
	}
	for _, name := range slices.Sorted(maps.Keys(h.Fields)) {
		if err := polity.CheckField(h.Fields[name]); err != nil {
			return fault.Invalid.New("hook %s: fields: %.80s: %w", h.Name, name, err)
		}
	}
	return nil
}

// Ask returns the input of the run that a message opens; wanted is false for one that opens none. It depends on its arguments alone, and returns fault.Invalid for a
// body to which fields cannot be added.
func (h *Hook) Ask(id string, body json.RawMessage) (input json.RawMessage, wanted bool, err error) {
	e := polity.Published{ID: id, Data: body}
	if h.Where != "" {
		where, err := polity.ParseWhere(h.Where)
		if err != nil || !where.Holds(e) {
			return nil, false, err
		}
	}
	if len(h.Fields) == 0 && h.Input == nil {
		return body, true, nil
	}
	all := map[string]json.RawMessage{}
	if h.Input != nil {
		if err := json.Unmarshal(h.Input, &all); err != nil {
			return nil, false, fault.Invalid.New("hook %s: input: %w", h.Name, err)
		}
	}
	switch {
	case len(h.Fields) > 0:
		for name, path := range h.Fields {
			if v, ok := e.Value(path); ok {
				all[name] = v
			}
		}
	case !isObject(body):
		return nil, false, fault.Invalid.New("hook %s: the message is not an object, to which the fields of input could be added", h.Name)
	default:
		if err := json.Unmarshal(body, &all); err != nil {
			return nil, false, fault.Invalid.New("hook %s: %w", h.Name, err)
		}
	}
	input, err = json.Marshal(all) // with its keys in order
	return input, true, err
}

func isObject(v json.RawMessage) bool {
	text := bytes.TrimSpace(v)
	return len(text) > 0 && text[0] == '{' && json.Valid(text)
}

// Hook returns one of the release's hooks by its name, or nil.
func (r *Release) Hook(name string) *Hook {
	for i := range r.Hooks {
		if r.Hooks[i].Name == name {
			return &r.Hooks[i]
		}
	}
	return nil
}

// CheckHooks returns fault.Invalid for hooks that cannot be, or that ask agents that the release does not have.
func (r *Release) CheckHooks() error {
	if len(r.Hooks) > HooksMax {
		return fault.Invalid.New("release: %d hooks; the most is %d", len(r.Hooks), HooksMax)
	}
	for i := range r.Hooks {
		h := &r.Hooks[i]
		if err := h.Check(); err != nil {
			return err
		}
		if r.Hook(h.Name) != h {
			return fault.Invalid.New("release: there are two hooks %s", h.Name)
		}
		if h.Agent != "" && r.Agent(string(h.Agent)) == nil {
			return fault.Invalid.New("hook %s: there is no agent %.80q", h.Name, h.Agent)
		}
	}
	return nil
}
