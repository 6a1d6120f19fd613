// Package quote is the offline model: it answers only with passages that stand in its input.
//
// It exists so that an organization works without a language model, an account or a network, and
// says so: what it answers is found, ranked and quoted with its source, never reasoned. It makes no
// sentence, draws no conclusion and takes no side, and where the input holds no answer it abstains.
//
//	messages -> passages -> BM25 against question and field -> MMR -> quotations in the schema's fields
package quote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"polity.run/fault"
	"polity.run/model"
	"polity.run/schema"
)

// Notice stands in every response: what the answer is and how to get another kind.
const Notice = "extractive: every sentence is quoted from the input by the offline model quote, which " +
	"finds and does not reason; for reasoning set another model in the manifest (model: ...)"

// Limits of a request. What exceeds one is refused as fault.Invalid.
const (
	InputMax    = 8 << 20 // bytes of all messages together
	PassagesMax = 20_000  // passages in the messages
	FieldsMax   = 1_000   // fields of the schema that are filled
)

// Limits of an answer.
const (
	passageMax    = 600 // bytes of a passage; longer lines are cut at sentences
	candidatesMax = 200 // passages that are compared with each other
	linesMax      = 5   // quotations in an answer without a schema, and in a list of one
	fieldMax      = 128 // bytes of the name of a field whose value is looked for as "name: value"
	tokenBytes    = 4   // bytes that count as an output token against Request.OutputMax
)

// Weights of the ranking.
const (
	steer   = 0.3 // how much the system text counts beside question and field
	repeat  = 0.5 // what is left of a passage's score once another field quotes it
	novelty = 0.7 // lambda of MMR: relevance against novelty
)

// Model is the offline model. The zero value is ready and safe for concurrent use.
type Model struct{}

var _ model.Model = Model{}

// Name returns "quote".
func (Model) Name() string { return "quote" }

// Answer quotes. The last user message is the question; system text steers what is looked for; the
// passages are the lines of tool messages and of the other user messages, and the leaves of those that are
// JSON. The same request always gets the same answer.
//
// With a schema, a text is the best passage for the question and the field's name and description,
// a list of texts the best few that differ, an object is filled field by field, and a number, a
// truth value or a word of an enum is given only where the input says "field: value". What is not
// there is left out, or is null or empty where the schema requires the field. Without a schema the
// answer is the best few passages, one on each line.
//
// It returns fault.Invalid for a request without a user message, one that exceeds a limit, one
// whose schema is wrong, and one whose schema requires what quote cannot fill honestly.
func (Model) Answer(ctx context.Context, r model.Request) (model.Response, error) {
	if err := ended(ctx); err != nil {
		return model.Response{}, err
	}
	compiled, err := schema.Compile(r.Schema)
	if err != nil {
		return model.Response{}, fault.Invalid.New("quote: %w", err)
	}
	in, err := read(r.Messages)
	if err != nil {
		return model.Response{}, err
	}
	f := newFiller(ctx, in, r)
	value, err := f.answer(r.Schema, compiled == nil)
	if err != nil {
		return model.Response{}, err
	}
	output, err := encode(value)
	if err != nil {
		return model.Response{}, err
	}
	if err := compiled.Check(output); err != nil {
		return model.Response{}, abstains(err)
	}
	return model.Response{Output: output, Extractive: Notice, Sources: f.sources}, nil
}

// abstains says that an honest answer does not fit the schema, and what to do.
func abstains(err error) error {
	return fault.Invalid.New("quote: abstains: the input does not say what the schema requires: %w\n"+
		"let the fields be left out, empty or null, or set a language model in the manifest (model: ...)", err)
}

// ended returns nil while ctx lives, else the fault for how it ended.
func ended(ctx context.Context) error {
	switch err := ctx.Err(); {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Timeout.New("quote: %w", err)
	default:
		return fault.Cancelled.New("quote: %w", err)
	}
}

// encode writes a value as JSON with its text unchanged: <, > and & stay as they are.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fault.Internal.New("quote: write the answer: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// input is a request's messages by what they are for.
type input struct {
	question, system string
	passages         []passage
}

// read sorts the messages.
func read(messages []model.Message) (input, error) {
	var in input
	last, size := -1, 0
	for i, m := range messages {
		if size += len(m.Text); size > InputMax {
			return in, fault.Invalid.New("quote: the messages have more than %d bytes", InputMax)
		}
		if m.Role == model.User {
			last = i
		}
	}
	if last < 0 {
		return in, fault.Invalid.New("quote: the request has no user message, which is the question")
	}
	in.question = messages[last].Text
	var system []string
	for i, m := range messages {
		switch {
		case m.Role == model.System:
			system = append(system, m.Text)
		case m.Role == model.Tool, m.Role == model.User && i != last:
			if in.passages = appendPassages(in.passages, m); len(in.passages) > PassagesMax {
				return in, fault.Invalid.New("quote: the messages have more than %d passages", PassagesMax)
			}
		}
	}
	in.system = strings.Join(system, "\n")
	return in, nil
}
