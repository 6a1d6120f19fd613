// Package openai asks models that speak OpenAI's chat completions, which are many: OpenAI's own, Gemini's
// compatible endpoint, Ollama, vLLM, llama.cpp, OpenRouter.
//
// It exists so that one adapter serves all of them. An answer is always streamed:
//
//	model.Request -> messages, tools, response_format -> chunks -> model.Response
package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	api "github.com/sashabaranov/go-openai"

	"polity.run"
	"polity.run/fault"
	"polity.run/model"
	"polity.run/schema"
)

// Limits of an answer. More is fault.Exhausted with bound "output".
const (
	AnswerMax = 8 << 20 // bytes of the whole stream
	CallsMax  = 64      // tool calls of an answer

	requestIDMax = 512 // bytes of a request's ID that OpenAI takes
)

// Client is a model. It is safe for concurrent use.
type Client struct {
	spec    model.Spec
	options map[string]json.RawMessage
}

var _ model.Model = (*Client)(nil)

// New returns the model that a spec declares. It returns fault.Invalid for a spec that is wrong. The key is read from
// the environment at each request. The most output goes out as max_tokens, which most servers know; a provider that wants max_completion_tokens is given that by the
// option {"max_completion_tokens": 0}, which moves the number there.
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

// Answer implements model.Model. It asks once: attempts, limits, prices and fallbacks are package provider's.
//
// Usage is what the provider says. One that says nothing is booked with a token for each byte, which is never too little.
func (c *Client) Answer(ctx context.Context, r model.Request) (model.Response, error) {
	key, err := model.Key(c.spec)
	if err != nil {
		return model.Response{}, err
	}
	request, names, err := c.request(r)
	if err != nil {
		return model.Response{}, err
	}
	config := api.DefaultConfig(key)
	if c.spec.URL != "" {
		config.BaseURL = strings.TrimRight(c.spec.URL, "/")
	}
	w := &wire{name: c.spec.Name, key: r.Key, options: c.options, output: r.OutputMax}
	config.HTTPClient = w
	stream, err := api.NewClientWithConfig(config).CreateChatCompletionStream(ctx, request)
	if err != nil {
		return model.Response{}, w.fault(ctx, err)
	}
	defer stream.Close()
	a := answer{live: r.Live}
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) && a.stop != "" {
			break
		}
		if err == nil {
			err = a.add(chunk)
		}
		if err != nil {
			return model.Response{Usage: a.usage(w), Model: a.model}, w.fault(ctx, err)
		}
	}
	return a.response(c.spec.Name, r, names, w)
}

// request translates. names gives back the names of tools, by how they are written on the wire.
func (c *Client) request(r model.Request) (api.ChatCompletionRequest, map[string]string, error) {
	out := api.ChatCompletionRequest{
		Model: c.spec.Model, StreamOptions: &api.StreamOptions{IncludeUsage: true},
	}
	if len(r.Messages) == 0 {
		return out, nil, fault.Invalid.New("model %s: a request without messages", c.spec.Name)
	}
	wire, names := model.WireNames(r.Tools)
	for _, t := range r.Tools {
		input := t.Input
		if len(input) == 0 {
			input = json.RawMessage(`{"type":"object"}`)
		}
		out.Tools = append(out.Tools, api.Tool{Type: api.ToolTypeFunction, Function: &api.FunctionDefinition{
			Name: wire[t.Name], Description: t.Description, Parameters: input,
		}})
	}
	if len(r.Schema) > 0 {
		if _, err := schema.Compile(r.Schema); err != nil {
			return out, nil, fault.Invalid.New("model %s: %w", c.spec.Name, err)
		}
		out.ResponseFormat = &api.ChatCompletionResponseFormat{Type: api.ChatCompletionResponseFormatTypeJSONSchema,
			JSONSchema: &api.ChatCompletionResponseFormatJSONSchema{Name: "answer", Schema: r.Schema}}
	}
	for _, m := range r.Messages {
		out.Messages = append(out.Messages, message(m, wire))
	}
	return out, names, nil
}

func message(m model.Message, wire map[string]string) api.ChatCompletionMessage {
	text := strings.ToValidUTF8(m.Text, "\uFFFD")
	switch {
	case m.Role == model.System:
		return api.ChatCompletionMessage{Role: api.ChatMessageRoleSystem, Content: text}
	case m.Role == model.Assistant:
		out := api.ChatCompletionMessage{Role: api.ChatMessageRoleAssistant, Content: text}
		for _, call := range m.Calls {
			name := wire[call.Name]
			if name == "" {
				name = model.WireName(call.Name)
			}
			out.ToolCalls = append(out.ToolCalls, api.ToolCall{
				ID: call.ID, Type: api.ToolTypeFunction, Function: api.FunctionCall{Name: name, Arguments: string(call.Input)},
			})
		}
		return out
	case m.Role == model.Tool && m.Call != "":
		return api.ChatCompletionMessage{Role: api.ChatMessageRoleTool, ToolCallID: m.Call, Content: text}
	case m.Role == model.Tool:
		return api.ChatCompletionMessage{Role: api.ChatMessageRoleUser, Content: model.Passage(m)}
	default:
		return api.ChatCompletionMessage{Role: api.ChatMessageRoleUser, Content: text}
	}
}

// answer is put together from chunks.
type answer struct {
	live  func(string)
	text  strings.Builder
	calls []call
	stop  api.FinishReason
	told  *api.Usage
	model string
	no    string // a refusal
}

type call struct {
	id, name string
	input    strings.Builder
}

func (a *answer) add(c api.ChatCompletionStreamResponse) error {
	if c.Usage != nil {
		a.told = c.Usage
	}
	if c.Model != "" {
		a.model = c.Model
	}
	if len(c.Choices) == 0 {
		return nil
	}
	choice := c.Choices[0]
	if choice.FinishReason != "" {
		a.stop = choice.FinishReason
	}
	a.no += choice.Delta.Refusal
	if choice.Delta.Content != "" {
		a.text.WriteString(choice.Delta.Content)
		if a.live != nil {
			a.live(choice.Delta.Content)
		}
	}
	for _, d := range choice.Delta.ToolCalls {
		at := len(a.calls)
		switch {
		case d.Index != nil:
			at = *d.Index
		case d.ID == "" && len(a.calls) > 0:
			at = len(a.calls) - 1
		}
		if at < 0 || at > len(a.calls) || at >= CallsMax {
			return fault.Unavailable.New("a broken answer: tool call %d after %d", at, len(a.calls))
		}
		if at == len(a.calls) {
			a.calls = append(a.calls, call{})
		}
		k := &a.calls[at]
		if d.ID != "" {
			k.id = d.ID
		}
		k.name += d.Function.Name
		k.input.WriteString(d.Function.Arguments)
	}
	return nil
}

func (a *answer) usage(w *wire) polity.Usage {
	if a.told == nil {
		return polity.Usage{InputTokens: w.sent, OutputTokens: min(w.received, max(w.output, 0))}
	}
	return polity.Usage{InputTokens: int64(max(a.told.PromptTokens, 0)), OutputTokens: int64(max(a.told.CompletionTokens, 0))}
}

func (a *answer) response(name string, r model.Request, names map[string]string, w *wire) (model.Response, error) {
	out := model.Response{Usage: a.usage(w), Model: a.model, Stop: model.StopEnd}
	if a.told != nil && a.told.PromptTokensDetails != nil {
		out.Cached = min(int64(max(a.told.PromptTokensDetails.CachedTokens, 0)), out.Usage.InputTokens)
	}
	switch {
	case a.stop == api.FinishReasonContentFilter:
		return out, fault.Denied.New("model %s: the provider's content filter refused", name)
	case a.no != "":
		return out, fault.Denied.New("model %s: refused: %.500s", name, a.no)
	case a.stop == api.FinishReasonLength:
		out.Stop = model.StopLength
	}
	for i := range a.calls {
		k := &a.calls[i]
		if back, ok := names[k.name]; ok {
			k.name = back
		}
		out.Calls = append(out.Calls, model.Call{ID: k.id, Name: strings.ToValidUTF8(k.name, "\uFFFD"), Input: model.CallInput(k.input.String())})
	}
	if len(out.Calls) > 0 {
		out.Stop = model.StopTools
	}
	text := strings.ToValidUTF8(a.text.String(), "\uFFFD")
	if text != "" || len(out.Calls) == 0 {
		out.Output = model.Output(text, len(r.Schema) > 0 && len(out.Calls) == 0)
	}
	return out, nil
}

// wire is the HTTP client of one request: it adds the options, bounds the answer, and keeps what the library does not tell.
type wire struct {
	name     string
	key      string
	options  map[string]json.RawMessage
	output   int64
	sent     int64
	received int64
	after    string // Retry-After
	status   int
	tooLong  bool
}

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	_, renamed := w.options["max_completion_tokens"]
	switch {
	case w.output > 0 && renamed:
		fields["max_completion_tokens"] = json.RawMessage(strconv.FormatInt(w.output, 10))
	case w.output > 0:
		fields["max_tokens"] = json.RawMessage(strconv.FormatInt(w.output, 10))
	}
	for name, value := range w.options {
		if fields[name] == nil {
			fields[name] = value
		}
	}
	if body, err = json.Marshal(fields); err != nil {
		return nil, err
	}
	w.sent = int64(len(body))
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if w.key != "" && len(w.key) <= requestIDMax {
		r.Header.Set("X-Client-Request-Id", w.key) // by it the provider finds the request; it is not kept from being done again
	}
	answer, err := model.HTTP.Do(r)
	if err != nil {
		return nil, err
	}
	w.status, w.after = answer.StatusCode, answer.Header.Get("Retry-After")
	answer.Body = &bounded{answer.Body, w}
	return answer, nil
}

// bounded counts what is read and ends what is too long.
type bounded struct {
	io.ReadCloser
	w *wire
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.w.received += int64(n); b.w.received > AnswerMax {
		b.w.tooLong = true
		return 0, fmt.Errorf("more than %d bytes", AnswerMax)
	}
	return n, err
}

// fault maps what went wrong, without the key or the request in it.
func (w *wire) fault(ctx context.Context, err error) error {
	var known *fault.Error
	var refused *api.APIError
	var request *api.RequestError
	switch {
	case errors.As(err, &known):
		return known.Kind.New("model %s: %w", w.name, err)
	case w.tooLong:
		return fault.Exceeded("output", "model %s: an answer of more than %d bytes", w.name, AnswerMax)
	case ctx.Err() != nil:
		return model.Ended(ctx, w.name)
	case errors.As(err, &refused):
		code := refused.HTTPStatusCode
		if code == 0 { // an error in the middle of a stream
			code = http.StatusBadGateway
		}
		return model.Refused(w.name, code, fmt.Sprint(refused.Code)+" "+refused.Type, refused.Message, w.after)
	case errors.As(err, &request):
		return model.Refused(w.name, request.HTTPStatusCode, "", string(request.Body[:min(len(request.Body), 500)]), w.after)
	case w.status != 0 && w.status != http.StatusOK:
		return model.Refused(w.name, w.status, "", err.Error(), w.after)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.Unavailable.New("model %s: the answer broke off", w.name)
	default:
		return fault.Unavailable.New("model %s: %s", w.name, strings.ToValidUTF8(err.Error(), "\uFFFD"))
	}
}
