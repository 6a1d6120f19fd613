// Package modeltest is the conformance suite of the port model.
//
// It exists so that every model keeps the same promises: an adapter's test is one line,
//
//	func TestModel(t *testing.T) { modeltest.Run(t, func() model.Model { return quote.Model{} }) }
package modeltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"polity.run/fault"
	"polity.run/model"
	"polity.run/schema"
)

// concurrent is how many requests one model gets at once.
const concurrent = 8

// Run checks what package model promises of every model, with a new model from open for each
// promise. A model that needs a network is given one that is replayed or served by the test. It is
// asked for text and for an object with a text, a list and an optional number.
func Run(t *testing.T, open func() model.Model) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(promises)) {
		t.Run(name, func(t *testing.T) {
			if err := promises[name](open()); err != nil {
				t.Error(err)
			}
		})
	}
}

// promises are what every model keeps. Each returns what is broken, or nil.
var promises = map[string]func(model.Model) error{
	"has one name":                       oneName,
	"answers text with a JSON string":    answersText,
	"answers within the schema":          answersSchema,
	"answers many at once":               answersMany,
	"leaves the request as it was":       leavesRequest,
	"quotes only what is in the request": quotesInput,
	"ends with its context":              endsWithContext,
	"refuses a broken schema":            refusesSchema,
	"refuses a request without messages": refusesEmpty,
}

const answerSchema = `{"type":"object","additionalProperties":false,"required":["summary","reasons"],"properties":{
	"summary":{"type":"string","description":"what the licence allows"},
	"reasons":{"type":"array","items":{"type":"string"},"maxItems":3},
	"year":{"type":"integer"}}}`

// request is a small question with something to answer it from.
func request(schema string) model.Request {
	return model.Request{
		Messages: []model.Message{
			{Role: model.System, Text: "You answer from the files you are given."},
			{Role: model.Tool, Source: "LICENSE", Text: "The licence allows use, copying and distribution.\nyear: 2026"},
			{Role: model.Tool, Source: "README.md", Text: "A library for counting birds.\nThe tests need a network."},
			{Role: model.User, Text: "What does the licence allow?"},
		},
		Schema:    json.RawMessage(schema),
		OutputMax: 1000,
		Key:       "0-abc#think",
	}
}

func oneName(m model.Model) error {
	name := m.Name()
	if name == "" || strings.TrimSpace(name) != name {
		return fmt.Errorf("the name is %q", name)
	}
	if again := m.Name(); again != name {
		return fmt.Errorf("the name changed from %q to %q", name, again)
	}
	return nil
}

// ask answers a request and checks what holds for every response.
func ask(m model.Model, r model.Request) (model.Response, error) {
	out, err := m.Answer(context.Background(), r)
	if err != nil {
		return out, err
	}
	u := out.Usage
	if u.Turns < 0 || u.InputTokens < 0 || u.OutputTokens < 0 || u.MicroUSD < 0 {
		return out, fmt.Errorf("usage is negative: %+v", u)
	}
	if u.OutputTokens > r.OutputMax {
		return out, fmt.Errorf("%d output tokens, where at most %d were asked for", u.OutputTokens, r.OutputMax)
	}
	data, err := json.Marshal(out)
	if err != nil {
		return out, fmt.Errorf("the response is no JSON: %w", err)
	}
	var back model.Response
	if err := json.Unmarshal(data, &back); err != nil {
		return out, fmt.Errorf("the response does not come back from JSON: %w", err)
	}
	return back, nil
}

func answersText(m model.Model) error {
	out, err := ask(m, request(""))
	if err != nil {
		return err
	}
	var text string
	if err := json.Unmarshal(out.Output, &text); err != nil {
		return fmt.Errorf("asked for text, the output is %s", out.Output)
	}
	return nil
}

func answersSchema(m model.Model) error {
	out, err := ask(m, request(answerSchema))
	if err != nil {
		return err
	}
	return accepted(out)
}

// accepted checks an output against the schema that was asked for.
func accepted(out model.Response) error {
	s, err := schema.Compile(json.RawMessage(answerSchema))
	if err != nil {
		return err
	}
	if err := s.Check(out.Output); err != nil {
		return fmt.Errorf("the output %s does not fit: %w", out.Output, err)
	}
	return nil
}

func answersMany(m model.Model) error {
	failed := make([]error, concurrent)
	var all sync.WaitGroup
	for i := range failed {
		all.Go(func() { failed[i] = answersSchema(m) })
	}
	all.Wait()
	return errors.Join(failed...)
}

func leavesRequest(m model.Model) error {
	r := request(answerSchema)
	if _, err := ask(m, r); err != nil {
		return err
	}
	if !reflect.DeepEqual(r, request(answerSchema)) {
		return fmt.Errorf("the request was changed: %+v", r)
	}
	return nil
}

// quotesInput holds extractive models to their word; others pass unless they name a source.
func quotesInput(m model.Model) error {
	r := request(answerSchema)
	out, err := ask(m, r)
	if err != nil {
		return err
	}
	for _, q := range out.Sources {
		if err := quoted(q, r.Messages); err != nil {
			return err
		}
	}
	if out.Extractive == "" {
		return nil
	}
	var value any
	if err := json.Unmarshal(out.Output, &value); err != nil {
		return fmt.Errorf("the output is no JSON: %w", err)
	}
	return extracted("", value, out.Sources)
}

// quoted checks that a quotation stands in a message of its source.
func quoted(q model.Quote, messages []model.Message) error {
	for _, msg := range messages {
		if msg.Source == q.Source && strings.Contains(msg.Text, q.Text) {
			return nil
		}
	}
	return fmt.Errorf("%s quotes %q from %q, which does not say so", q.Field, q.Text, q.Source)
}

// extracted checks that each text below value is quoted by a source of its place.
func extracted(at string, value any, sources []model.Quote) error {
	switch v := value.(type) {
	case string:
		if v == "" || slices.ContainsFunc(sources, func(q model.Quote) bool { return q.Field == at && q.Text == v }) {
			return nil
		}
		return fmt.Errorf("%s is said to be extractive and has no source: %q", at, v)
	case []any:
		for i, one := range v {
			if err := extracted(fmt.Sprintf("%s/%d", at, i), one, sources); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if err := extracted(at+"/"+name, v[name], sources); err != nil {
				return err
			}
		}
	}
	return nil
}

func endsWithContext(m model.Model) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := m.Answer(ctx, request(""))
	if !errors.Is(err, fault.Cancelled) && !errors.Is(err, fault.Timeout) {
		return fmt.Errorf("with an ended context: got %v, want a fault of kind cancelled or timeout", err)
	}
	return nil
}

func refusesSchema(m model.Model) error {
	return refused(m, request(`{"type":"nonsense"}`))
}

func refusesEmpty(m model.Model) error {
	return refused(m, model.Request{OutputMax: 1000})
}

func refused(m model.Model, r model.Request) error {
	if _, err := m.Answer(context.Background(), r); !errors.Is(err, fault.Invalid) {
		return fmt.Errorf("got %v, want a fault of kind invalid", err)
	}
	return nil
}
