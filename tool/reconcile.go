package tool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/schema"
)

// Limits of asking what became of a call, and what holds where a Reconcile names none.
const (
	AskTimeout        = 10 * time.Second // for one question
	AskAttempts       = 5
	AskEvery          = time.Second
	AskAttemptsMax    = 20
	AskWaitMax        = 10 * time.Minute
	AskEveryMax       = time.Minute
	reconcileInputMax = 16 << 10 // bytes
	reconcileDepthMax = 32
)

// Reconciler is a tool that can ask its destination what became of a call. It is asked about calls of class external whose result did not
// come, before they end as fault.Unknown.
type Reconciler interface {
	Tool
	// Reconcile says what became of the call c, which began no earlier than since. It only reads. polity.VerdictNotDone is a promise: a request
	// with that key that is still on its way will not be done either, for the call is then made again. A fault is as good as
	// polity.VerdictUnknown, and is asked again if it is retryable.
	Reconcile(ctx context.Context, c Call, since time.Time) (polity.Finding, error)
}

// WithReconcile is a tool that asks fn what became of a call.
func WithReconcile(t Tool, fn func(ctx context.Context, c Call, since time.Time) (polity.Finding, error)) Reconciler {
	return &reconciler{t, fn}
}

type reconciler struct {
	Tool
	fn func(ctx context.Context, c Call, since time.Time) (polity.Finding, error)
}

func (r *reconciler) Reconcile(ctx context.Context, c Call, since time.Time) (polity.Finding, error) {
	return r.fn(ctx, c, since)
}

// Reconcile declares how it is found out what became of a call: another tool of the same source, which only reads, is asked.
type Reconcile struct {
	Ask string `json:"ask"` // the tool that is asked, by its own name
	// Input is what it is asked. In its texts {key} stands for the call's key, {since} for the time before which it did not begin, {input} for the
	// call's input and {input.name} for a field of it. Empty: key, input and since, as far as the tool takes them.
	Input json.RawMessage `json:"input,omitempty"`
	// Output is the path at which the answer holds what the call would have answered: if something stands there it was done. Empty: the answer is
	// {"verdict": "done", "output": ..., "receipt": ...}, or has the verdict not_done or unknown.
	Output string `json:"output,omitempty"`
	// Absent is what it means that nothing stands at Output, or that the tool finds nothing (fault.NotFound): VerdictUnknown, which is the
	// default, or VerdictNotDone.
	Absent   polity.Verdict  `json:"absent,omitempty"`
	Wait     polity.Duration `json:"wait,omitempty"`     // before it is asked; what was on its way has arrived by then. At most AskWaitMax
	Every    polity.Duration `json:"every,omitempty"`    // between two questions; 0 is AskEvery, the most AskEveryMax
	Attempts int             `json:"attempts,omitempty"` // questions until the verdict is unknown; 0 is AskAttempts, the most AskAttemptsMax
}

// Most is the most time that it takes to ask, with all repetitions.
func (r *Reconcile) Most() time.Duration {
	n := time.Duration(r.attempts())
	return time.Duration(r.Wait) + n*AskTimeout + n*r.every()
}

func (r *Reconcile) attempts() int {
	if r.Attempts == 0 {
		return AskAttempts
	}
	return r.Attempts
}

func (r *Reconcile) every() time.Duration {
	if r.Every == 0 {
		return AskEvery
	}
	return time.Duration(r.Every)
}

// Check says what is wrong with r as the declaration for the tool of, which asks the tool by: an Invalid fault, or nil.
func (r *Reconcile) Check(of, by Spec) error {
	switch {
	case of.Effect != polity.EffectExternal:
		return fault.Invalid.New("%s is of class %s: only external effects end as unknown", of.Name, of.Effect)
	case by.Effect != polity.EffectNone:
		return fault.Invalid.New("%s is of class %s: what is asked may only read; say effect: none if that is so", by.Name, by.Effect)
	case r.Absent != "" && r.Absent != polity.VerdictUnknown && r.Absent != polity.VerdictNotDone:
		return fault.Invalid.New("absent %.40q: want unknown or not_done", r.Absent)
	case r.Wait < 0 || time.Duration(r.Wait) > AskWaitMax:
		return fault.Invalid.New("wait: want 0s to %s", AskWaitMax)
	case r.Every < 0 || time.Duration(r.Every) > AskEveryMax:
		return fault.Invalid.New("every: want 0s to %s", AskEveryMax)
	case r.Attempts < 0 || r.Attempts > AskAttemptsMax:
		return fault.Invalid.New("attempts: want 1 to %d", AskAttemptsMax)
	case len(r.Input) > reconcileInputMax:
		return fault.Invalid.New("input of %d bytes; the most is %d", len(r.Input), reconcileInputMax)
	}
	if r.Output != "" {
		if err := CheckPath(r.Output); err != nil {
			return fault.Invalid.New("output: %w", err)
		}
	}
	return r.checkInput(by)
}

// checkInput tries the declared input, where it does not depend on that of the call.
func (r *Reconcile) checkInput(by Spec) error {
	for _, m := range marks.FindAllStringSubmatch(string(r.Input), -1) {
		if name := m[1]; name != "key" && name != "since" && name != "input" && !strings.HasPrefix(name, "input.") {
			return fault.Invalid.New("input: {%s}: want {key}, {since}, {input} or {input.name}", name)
		}
	}
	in, err := r.Question(by, Call{Key: "0-example#call", Input: json.RawMessage("{}")}, time.Unix(0, 0).UTC())
	if strings.Contains(string(r.Input), "{input.") {
		return nil // what it is is known when there is a call
	}
	if err != nil {
		return fault.Invalid.New("input: %w", err)
	}
	accepts, err := schema.Compile(by.Input)
	if err != nil || accepts == nil || strings.Contains(string(r.Input), "{input") {
		return err
	}
	if err := accepts.Check(in); err != nil {
		return fault.Invalid.New("input: %s does not take %s: %w", by.Name, in, err)
	}
	return nil
}

// marks are the placeholders of an input.
var marks = regexp.MustCompile(`\{([a-z]+[A-Za-z0-9_.\[\]-]*)\}`)

// Question is what the tool by is asked of a call.
func (r *Reconcile) Question(by Spec, c Call, since time.Time) (json.RawMessage, error) {
	input := c.Input
	if len(input) == 0 {
		input = json.RawMessage("{}")
	}
	at := since.UTC().Format(time.RFC3339Nano)
	if len(r.Input) == 0 {
		return known(by, map[string]any{"key": c.Key, "input": input, "since": at}), nil
	}
	whole := encode(map[string]any{"key": c.Key, "input": input, "since": at})
	var template any
	d := json.NewDecoder(bytes.NewReader(r.Input))
	d.UseNumber()
	if err := d.Decode(&template); err != nil {
		return nil, fault.Invalid.New("not JSON: %w", err)
	}
	filled, err := fill(template, whole, 0)
	if err != nil {
		return nil, err
	}
	return encode(filled), nil
}

// known leaves out the fields that a tool's schema does not have, where it lists those that it has.
func known(by Spec, fields map[string]any) json.RawMessage {
	var s struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if json.Unmarshal(by.Input, &s) == nil && s.Properties != nil {
		for name := range fields {
			if s.Properties[name] == nil {
				delete(fields, name)
			}
		}
	}
	return encode(fields)
}

// fill puts what they stand for in place of a template's placeholders: a text that is nothing else becomes the value itself.
func fill(template any, from json.RawMessage, depth int) (any, error) {
	if depth > reconcileDepthMax {
		return nil, fault.Invalid.New("deeper than %d", reconcileDepthMax)
	}
	var err error
	switch t := template.(type) {
	case string:
		return fillText(t, from)
	case []any:
		for i := range t {
			if t[i], err = fill(t[i], from, depth+1); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name := range t {
			if t[name], err = fill(t[name], from, depth+1); err != nil {
				return nil, err
			}
		}
	}
	return template, nil
}

func fillText(text string, from json.RawMessage) (any, error) {
	if m := marks.FindString(text); m != "" && m == text {
		value, ok := Lookup(from, "$."+text[1:len(text)-1])
		if !ok {
			return nil, fault.Invalid.New("the call has no %s", text)
		}
		return value, nil
	}
	var missing error
	out := marks.ReplaceAllStringFunc(text, func(m string) string {
		value, ok := Lookup(from, "$."+m[1:len(m)-1])
		if !ok {
			missing = fault.Invalid.New("the call has no %s", m)
		}
		var plain string
		if json.Unmarshal(value, &plain) != nil {
			return string(value)
		}
		return plain
	})
	return out, missing
}

// Finding reads the answer of the tool that was asked. It returns the tool's fault, but for one that it found nothing, and fault.Invalid for an answer
// that is none.
func (r *Reconcile) Finding(answer json.RawMessage, err error) (polity.Finding, error) {
	absent := polity.Finding{Verdict: polity.VerdictUnknown, Reason: "it finds nothing"}
	if r.Absent != "" {
		absent.Verdict = r.Absent
	}
	switch {
	case errors.Is(err, fault.NotFound):
		return absent, nil
	case err != nil:
		return polity.Finding{}, err
	case r.Output == "":
		return readFinding(answer)
	}
	if !json.Valid(answer) {
		return polity.Finding{}, fault.Invalid.New("answer is not JSON: %.80q", answer)
	}
	output, ok := Lookup(answer, r.Output)
	if !ok {
		return absent, nil
	}
	return polity.Finding{Verdict: polity.VerdictDone, Output: output}, nil
}

// readFinding decodes a finding that a tool wrote itself.
func readFinding(answer json.RawMessage) (polity.Finding, error) {
	var f polity.Finding
	d := json.NewDecoder(bytes.NewReader(answer))
	d.DisallowUnknownFields()
	err := d.Decode(&f)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one JSON value")
		}
	}
	if err == nil && f.Verdict == polity.VerdictUndone {
		err = errors.New("undone is for a person to say")
	}
	if err == nil {
		err = f.Check()
	}
	if err != nil {
		return polity.Finding{}, fault.Invalid.New(`answer: %w; want {"verdict": "done", "output": ...}, or the verdict not_done or unknown: %.200s`, err, answer)
	}
	f.By = ""
	return f, nil
}

// Asked asks until there is a verdict, waiting in between, at most as often as r says. ask puts one question, within AskTimeout.
func (r *Reconcile) Asked(ctx context.Context, ask func(context.Context) (polity.Finding, error)) (polity.Finding, error) {
	pause := time.Duration(r.Wait)
	for n := 1; ; n++ {
		if err := sleep(ctx, pause); err != nil {
			return polity.Finding{}, err
		}
		one, cancel := context.WithTimeout(ctx, AskTimeout)
		f, err := ask(one)
		cancel()
		again := err == nil && f.Verdict == polity.VerdictUnknown || err != nil && fault.Of(err).Kind.Retryable()
		if !again || n >= r.attempts() || ctx.Err() != nil {
			return f, err
		}
		pause = r.every()
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
