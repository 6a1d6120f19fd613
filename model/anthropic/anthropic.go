// Package anthropic asks models that speak Anthropic's Messages API.
//
// It exists beside package openai because the protocol differs: system text stands apart, tool results are the user's,
// and an answer in a schema is the input of a tool that the model has to call. It is written over net/http, see docs/adr/0007.
//
//	model.Request -> system, messages, tools -> server-sent events -> model.Response
package anthropic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"polity.run"
	"polity.run/fault"
	"polity.run/model"
	"polity.run/schema"
)

const (
	home    = "https://api.anthropic.com"
	version = "2023-06-01" // header anthropic-version

	// AnswerMax is the most bytes of an answer's stream; more is fault.Exhausted with bound "output".
	AnswerMax = 8 << 20
	callsMax  = 64
	cacheMax  = 4 // places of a request that may be marked for the cache

	// answerTool is the tool by whose input the model answers where a schema is wanted.
	answerTool = "answer"
)

// Client is a model. It is safe for concurrent use.
type Client struct {
	spec    model.Spec
	options map[string]json.RawMessage
}

var _ model.Model = (*Client)(nil)

// New returns the model that a spec declares. It returns fault.Invalid for a spec that is wrong. The key is read from
// the environment at each request.
func New(spec model.Spec) (*Client, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	c := &Client{spec: spec}
	if len(spec.Options) > 0 {
		if err := json.Unmarshal(spec.Options, &c.options); err != nil {
			return nil, fault.Invalid.New("model %s: options: want an object: %w", spec.Name, err)
		}
	}
	return c, nil
}

// Name is the spec's.
func (c *Client) Name() string { return c.spec.Name }

// The request on the wire.
type (
	request struct {
		Model      string    `json:"model"`
		MaxTokens  int64     `json:"max_tokens"`
		Stream     bool      `json:"stream"`
		System     []block   `json:"system,omitempty"`
		Messages   []message `json:"messages"`
		Tools      []tool    `json:"tools,omitempty"`
		ToolChoice any       `json:"tool_choice,omitempty"`
	}
	message struct {
		Role    string  `json:"role"`
		Content []block `json:"content"`
	}
	block struct {
		Type      string          `json:"type"`
		Text      string          `json:"text,omitempty"`
		ID        string          `json:"id,omitempty"`
		Name      string          `json:"name,omitempty"`
		Input     json.RawMessage `json:"input,omitempty"`
		ToolUseID string          `json:"tool_use_id,omitempty"`
		Content   string          `json:"content,omitempty"`
		IsError   bool            `json:"is_error,omitempty"`
		Cache     *cache          `json:"cache_control,omitempty"`
	}
	cache struct {
		Type string `json:"type"`
	}
	tool struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		InputSchema json.RawMessage `json:"input_schema"`
	}
)

// Answer implements model.Model. It asks once: attempts, limits, prices and fallbacks are package provider's.
//
// Usage counts what was read from the cache and written into it as input. A provider that says nothing is booked with a token for
// each byte, which is never too little.
func (c *Client) Answer(ctx context.Context, r model.Request) (model.Response, error) {
	key, err := model.Key(c.spec)
	if err != nil {
		return model.Response{}, err
	}
	q, names, err := c.request(r)
	if err != nil {
		return model.Response{}, err
	}
	body, err := c.body(q)
	if err != nil {
		return model.Response{}, err
	}
	url := home
	if c.spec.URL != "" {
		url = strings.TrimSuffix(strings.TrimRight(c.spec.URL, "/"), "/v1")
	}
	h, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/messages", bytes.NewReader(body))
	if err != nil {
		return model.Response{}, fault.Invalid.New("model %s: %w", c.spec.Name, err)
	}
	h.Header.Set("Content-Type", "application/json")
	h.Header.Set("Accept", "text/event-stream")
	h.Header.Set("Anthropic-Version", version)
	if key != "" {
		h.Header.Set("X-Api-Key", key)
	}
	answered, err := model.HTTP.Do(h)
	if err != nil {
		return model.Response{}, c.broken(ctx, err)
	}
	defer answered.Body.Close()
	if answered.StatusCode != http.StatusOK {
		return model.Response{}, c.refused(answered)
	}
	a := answer{live: r.Live, output: r.OutputMax, sent: int64(len(body))}
	if err := a.read(io.LimitReader(answered.Body, AnswerMax+1)); err != nil {
		if a.received > AnswerMax {
			err = fault.Exceeded("output", "model %s: an answer of more than %d bytes", c.spec.Name, AnswerMax)
		}
		return model.Response{Usage: a.usage(), Model: a.model}, c.broken(ctx, err)
	}
	return a.response(c.spec.Name, r, names)
}

// body writes the request, with the options that it does not set itself.
func (c *Client) body(q request) ([]byte, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, fault.Invalid.New("model %s: request: %w", c.spec.Name, err)
	}
	if len(c.options) == 0 {
		return body, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, fault.Internal.New("model %s: request: %w", c.spec.Name, err)
	}
	for name, value := range c.options {
		if fields[name] == nil {
			fields[name] = value
		}
	}
	return json.Marshal(fields)
}

func (c *Client) request(r model.Request) (request, map[string]string, error) {
	q := request{Model: c.spec.Model, MaxTokens: r.OutputMax, Stream: true}
	if q.MaxTokens == 0 {
		q.MaxTokens = model.OutputDefault
	}
	if len(r.Messages) == 0 {
		return q, nil, fault.Invalid.New("model %s: a request without messages", c.spec.Name)
	}
	offers := r.Tools
	if len(r.Schema) > 0 {
		if _, err := schema.Compile(r.Schema); err != nil {
			return q, nil, fault.Invalid.New("model %s: %w", c.spec.Name, err)
		}
		offers = append([]model.Offer{{Name: answerTool}}, offers...) // first, so that its name is free
	}
	wire, names := model.WireNames(offers)
	for _, t := range r.Tools {
		input := t.Input
		if len(input) == 0 {
			input = json.RawMessage(`{"type":"object"}`)
		}
		q.Tools = append(q.Tools, tool{wire[t.Name], t.Description, input})
	}
	if len(r.Schema) > 0 {
		q.Tools = append(q.Tools, tool{answerTool, "Gives the final answer. Call it once, when nothing else is needed, and only it.", wrapped(r.Schema)})
		q.ToolChoice = map[string]string{"type": "any"}
		if len(r.Tools) == 0 {
			q.ToolChoice = map[string]string{"type": "tool", "name": answerTool}
		}
	}
	for _, m := range r.Messages {
		q.add(m, wire)
	}
	if len(q.Messages) == 0 {
		q.put("user", block{Type: "text", Text: "Go on."}) // the protocol wants one
	}
	return q, names, nil
}

// wrapped makes an object of a schema, as a tool's input is one.
func wrapped(raw json.RawMessage) json.RawMessage {
	if isObject(raw) {
		return raw
	}
	return json.RawMessage(`{"type":"object","required":["value"],"properties":{"value":` + string(raw) + `}}`)
}

func isObject(raw json.RawMessage) bool {
	var s struct {
		Type any `json:"type"`
	}
	return json.Unmarshal(raw, &s) == nil && s.Type == "object"
}

// add puts a message where the protocol wants it. Messages of one role in a row are one.
func (q *request) add(m model.Message, wire map[string]string) {
	text := strings.ToValidUTF8(m.Text, "\uFFFD")
	var mark *cache
	if m.Cache && q.marks() < cacheMax {
		mark = &cache{"ephemeral"}
	}
	switch {
	case m.Role == model.System && len(q.Messages) == 0:
		if text != "" {
			q.System = append(q.System, block{Type: "text", Text: text, Cache: mark})
		}
	case m.Role == model.Assistant:
		if strings.TrimSpace(text) != "" {
			q.put("assistant", block{Type: "text", Text: strings.TrimRight(text, " \n\t"), Cache: mark})
		}
		for _, call := range m.Calls {
			name := wire[call.Name]
			if name == "" {
				name = model.WireName(call.Name)
			}
			input := call.Input
			if !bytes.HasPrefix(bytes.TrimSpace(input), []byte("{")) {
				input = json.RawMessage(`{"input":` + string(model.CallInput(string(input))) + `}`)
			}
			q.put("assistant", block{Type: "tool_use", ID: call.ID, Name: name, Input: input})
		}
	case m.Role == model.Tool && m.Call != "":
		q.put("user", block{Type: "tool_result", ToolUseID: m.Call, Content: text, IsError: m.Failed, Cache: mark})
	case m.Role == model.Tool:
		q.put("user", block{Type: "text", Text: model.Passage(m), Cache: mark})
	case text != "":
		q.put("user", block{Type: "text", Text: text, Cache: mark})
	}
}

func (q *request) put(role string, b block) {
	if n := len(q.Messages); n > 0 && q.Messages[n-1].Role == role {
		q.Messages[n-1].Content = append(q.Messages[n-1].Content, b)
		return
	}
	q.Messages = append(q.Messages, message{role, []block{b}})
}

func (q *request) marks() (n int) {
	for _, b := range q.System {
		if b.Cache != nil {
			n++
		}
	}
	for _, m := range q.Messages {
		for _, b := range m.Content {
			if b.Cache != nil {
				n++
			}
		}
	}
	return n
}

type failure struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

func (c *Client) refused(r *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<10))
	var f struct {
		Error failure `json:"error"`
	}
	if err != nil || json.Unmarshal(body, &f) != nil || f.Error.Message == "" {
		f.Error.Message = string(body)
	}
	return model.Refused(c.spec.Name, r.StatusCode, f.Error.Type, f.Error.Message, r.Header.Get("Retry-After"))
}

// broken is the fault of a request whose answer did not come whole.
func (c *Client) broken(ctx context.Context, err error) error {
	var known *fault.Error
	var told *streamError
	switch {
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return model.Ended(ctx, c.spec.Name)
	case errors.As(err, &told):
		status := http.StatusBadGateway
		switch told.Type {
		case "invalid_request_error":
			status = http.StatusBadRequest
		case "authentication_error", "permission_error":
			status = http.StatusForbidden
		}
		return model.Refused(c.spec.Name, status, told.Type, told.Message, "")
	default:
		return fault.Unavailable.New("model %s: %s", c.spec.Name, strings.ToValidUTF8(err.Error(), "\uFFFD"))
	}
}

// answer is put together from events.
type answer struct {
	live            func(string)
	output          int64
	sent, received  int64
	model           string
	stop            string
	ended           bool
	blocks          []*part
	told            bool
	in, out         int64
	cached, written int64
}

type part struct {
	kind, id, name string
	text           strings.Builder
}

func (a *answer) usage() polity.Usage {
	if !a.told {
		return polity.Usage{InputTokens: a.sent, OutputTokens: min(a.received, max(a.output, 0))}
	}
	return polity.Usage{InputTokens: a.in + a.cached + a.written, OutputTokens: a.out}
}

func (a *answer) response(name string, r model.Request, names map[string]string) (model.Response, error) {
	out := model.Response{Usage: a.usage(), Model: a.model, Stop: model.StopEnd, Cached: a.cached, CacheWritten: a.written}
	switch a.stop {
	case "refusal":
		return out, fault.Denied.New("model %s: refused to answer", name)
	case "model_context_window_exceeded":
		return out, fault.Exceeded(model.BoundContext, "model %s: the conversation is longer than its context", name)
	case "max_tokens":
		out.Stop = model.StopLength
	}
	var text strings.Builder
	for _, p := range a.blocks {
		switch {
		case p.kind == "text":
			text.WriteString(p.text.String())
		case p.kind == "tool_use" && p.name == answerTool && len(r.Schema) > 0:
			out.Output = model.CallInput(p.text.String())
			if !isObject(r.Schema) {
				var v struct {
					Value json.RawMessage `json:"value"`
				}
				if json.Unmarshal(out.Output, &v) == nil && v.Value != nil {
					out.Output = v.Value
				}
			}
		case p.kind == "tool_use":
			if back, ok := names[p.name]; ok {
				p.name = back
			}
			out.Calls = append(out.Calls, model.Call{ID: p.id, Name: strings.ToValidUTF8(p.name, "\uFFFD"), Input: model.CallInput(p.text.String())})
		}
	}
	if len(out.Calls) > 0 {
		out.Stop = model.StopTools
		out.Output = nil // an answer beside calls is given too early
	}
	if out.Output == nil && (text.Len() > 0 || len(out.Calls) == 0) {
		out.Output = model.Output(text.String(), len(r.Schema) > 0 && len(out.Calls) == 0)
	}
	return out, nil
}

type streamError struct{ failure }

func (e *streamError) Error() string { return fmt.Sprintf("%s: %s", e.Type, e.Message) }
