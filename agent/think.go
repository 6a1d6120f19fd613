package agent

import (
	"encoding/json"
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
	"polity.run/model"
)

// Limits of an agent that thinks.
const (
	ToolsMax       = 64   // tools of one agent; they are called at once
	OutputMax      = 4096 // tokens of the model's answer
	StepsDefault   = 16   // thoughts of one run
	StepsMax       = 200
	RepairsDefault = 2
	RepairsMax     = 5
	ContextDefault = 100_000 // tokens
	attemptsMax    = 2       // of a tool call
	toolTextMax    = 1 << 16 // bytes of one tool's result that the model sees
)

// Names of the commands.
const (
	thinkName  = "think"
	callPrefix = "call."
	nameMax    = 64
)

// thinker is the decider of agents of kind model. It is what was pinned, and does not change.
type thinker struct {
	model        string
	instructions string
	tools        []ToolPin
	calls        []string // by tool: the command's name
	skills       []skill
}

// NewThinker returns the decider of an agent of kind model:
//
//	opened -> call every tool at once -> think about all results -> finish
//
// The question is the input's "question" and "objective", or the input's whole text. A call that failed
// and may succeed is tried once more; one that failed for good becomes a note. The model sees the
// instructions, each tool's result with its source, and the question, and fills the asked skill's output
// except claims, notes and extractive: those are the tools' own and not the model's to make.
//
// The run's output is an object: the model's fields, the tools' claims without repetitions, each
// with the key of the call that found it, and notes about what failed. Without an answer from the
// model the run finishes with the claims alone and says so. It fails only with nothing to give: with the
// model's fault if there is no claim, with the first tool's if all tools failed and the model abstained.
//
// It returns fault.Invalid for a definition that has no such life: of another kind, with a skill
// whose output is no object, or with tools that cannot be told apart.
func NewThinker(def *Definition) (polity.Decider, error) {
	if def.Kind != KindModel || def.Model == nil {
		return nil, fault.Invalid.New("agent %s: thinks only with kind %q and a model, not %q", def.Name, KindModel, def.Kind)
	}
	if len(def.Skills) == 0 {
		return nil, fault.Invalid.New("agent %s: has no skill", def.Name)
	}
	if len(def.Model.Gather) > ToolsMax {
		return nil, fault.Invalid.New("agent %s: has %d tools; at most %d are allowed", def.Name, len(def.Model.Gather), ToolsMax)
	}
	t := &thinker{
		model: def.Model.Model, instructions: def.Model.Instructions, tools: slices.Clone(def.Model.Gather),
	}
	for _, tool := range t.tools {
		name := callName(tool.Name)
		if len(name) > nameMax {
			return nil, fault.Invalid.New("agent %s: tool %.70q: the name is longer than %d bytes", def.Name, tool.Name, nameMax-len(callPrefix))
		}
		if i := slices.Index(t.calls, name); i >= 0 {
			return nil, fault.Invalid.New("agent %s: tools %q and %q would share the call %q", def.Name, t.tools[i].Name, tool.Name, name)
		}
		t.calls = append(t.calls, name)
	}
	for _, s := range def.Skills {
		one, err := newSkill(s)
		if err != nil {
			return nil, fault.Invalid.New("agent %s: %w", def.Name, err)
		}
		t.skills = append(t.skills, one)
	}
	return t, nil
}

// callName is the name of a tool's call, with what a command's name may not hold replaced by '-'.
func callName(tool string) string {
	return callPrefix + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		default:
			return '-'
		}
	}, tool)
}

// thought is a thinker's state in one run.
type thought struct {
	run      polity.RunID
	question string
	skill    skill
	results  []result // by tool
	open     int      // calls without a final result
	thinking bool
	done     bool
}

// Decide implements polity.Decider.
func (t *thinker) Decide(state any, e polity.Event) (any, []polity.Command) {
	s, _ := state.(*thought)
	switch {
	case e.Kind == polity.Opened && s == nil:
		return t.opened(e)
	case e.Kind != polity.Result || s == nil || s.done:
		return state, nil
	case e.Name == thinkName && s.thinking:
		return s, s.end(readAnswer(e))
	default:
		return s, t.called(s, e)
	}
}

// opened begins: all calls at once, or straight to thinking.
func (t *thinker) opened(e polity.Event) (any, []polity.Command) {
	s := &thought{run: e.Run, question: question(e.Data), results: make([]result, len(t.tools)), open: len(t.tools)}
	var err error
	if s.skill, err = t.asked(e.Skill); err != nil {
		s.done = true
		return s, []polity.Command{polity.Fail(fault.Of(err))}
	}
	if len(t.tools) == 0 {
		return s, t.think(s)
	}
	commands := make([]polity.Command, len(t.tools))
	for i := range t.tools {
		s.results[i] = result{tool: t.tools[i].Name, attempt: 1}
		commands[i] = t.call(i, 1)
	}
	return s, commands
}

// asked returns the skill with the name, or the only one for no name.
func (t *thinker) asked(name string) (skill, error) {
	if name == "" && len(t.skills) == 1 {
		return t.skills[0], nil
	}
	names := make([]string, len(t.skills))
	for i, s := range t.skills {
		if s.name == name {
			return s, nil
		}
		names[i] = s.name
	}
	return skill{}, fault.NotFound.New("agent: skill %q: not one of %s", name, strings.Join(names, ", "))
}

func (t *thinker) call(i, attempt int) polity.Command {
	input := t.tools[i].Input
	if len(input) == 0 {
		input = json.RawMessage("{}")
	}
	c := polity.Call(t.calls[i], t.tools[i].Name, input)
	c.Attempt = attempt
	return c
}

// called takes a call's result: tries again, waits for the others, or thinks.
func (t *thinker) called(s *thought, e polity.Event) []polity.Command {
	i := slices.Index(t.calls, e.Name)
	if i < 0 || s.results[i].ended || max(e.Attempt, 1) != s.results[i].attempt {
		return nil
	}
	r := &s.results[i]
	if e.Fault != nil && len(e.Data) == 0 && e.Fault.Kind.Retryable() && r.attempt < attemptsMax {
		r.attempt++
		return []polity.Command{t.call(i, r.attempt)}
	}
	r.take(e, polity.EffectKey(s.run, e.Name, r.attempt))
	if s.open--; s.open > 0 {
		return nil
	}
	return t.think(s)
}

// think asks the model, unless the skill leaves it nothing to fill.
func (t *thinker) think(s *thought) []polity.Command {
	if s.skill.ask == nil {
		return s.end(answer{fields: map[string]json.RawMessage{}})
	}
	r := model.Request{Schema: s.skill.ask, OutputMax: OutputMax}
	if t.instructions != "" {
		r.Messages = append(r.Messages, model.Message{Role: model.System, Text: t.instructions})
	}
	for i := range s.results {
		if text := s.results[i].text; text != "" {
			r.Messages = append(r.Messages, model.Message{Role: model.Tool, Source: s.results[i].key, Text: text})
		}
	}
	r.Messages = append(r.Messages, model.Message{Role: model.User, Text: s.question})
	request, err := encode(r)
	if err != nil {
		s.done = true
		return []polity.Command{polity.Fail(fault.Of(err))}
	}
	s.thinking = true
	reserve := polity.Usage{InputTokens: int64(len(request)), OutputTokens: OutputMax}
	return []polity.Command{polity.Think(thinkName, t.model, request, reserve)}
}

// end takes the model's answer and ends the run.
func (s *thought) end(a answer) []polity.Command {
	s.done = true
	if len(s.claims()) == 0 {
		if a.fault != nil && a.fields == nil {
			return []polity.Command{polity.Fail(a.fault)}
		}
		if f := s.allFailed(); f != nil && a.abstained() {
			return []polity.Command{polity.Fail(f)}
		}
	}
	return s.finish(a)
}

// question returns what the input asks: the text of its question and objective, or the input itself.
func question(input json.RawMessage) string {
	var fields struct {
		Question  json.RawMessage `json:"question"`
		Objective json.RawMessage `json:"objective"`
	}
	if json.Unmarshal(input, &fields) == nil {
		var parts []string
		for _, raw := range []json.RawMessage{fields.Question, fields.Objective} {
			if text := plain(raw); text != "" {
				parts = append(parts, text)
			}
		}
		if len(parts) > 0 {
			return strings.Join(parts, "\n")
		}
	}
	return plain(input)
}

// plain returns the text of a JSON string, nothing for null, and other JSON as it is written.
func plain(raw json.RawMessage) string {
	var text *string
	if json.Unmarshal(raw, &text) == nil {
		if text == nil {
			return ""
		}
		return *text
	}
	return string(raw)
}
