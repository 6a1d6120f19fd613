// Package model is the port for language models and for what stands in for one.
//
// It exists so that a decider can ask "fill this schema from these messages" without knowing who
// answers, and so that what an answer cost is always known.
package model

import (
	"context"
	"encoding/json"

	"polity.run"
)

// Model answers requests. Implementations are safe for concurrent use.
type Model interface {
	// Name is what manifests call the model, and what is pinned in a run.
	Name() string
	// Answer returns one answer, or a fault:
	//
	//	Invalid           a request that it can never answer
	//	Denied            a key that is missing or refused, or a request that the provider's filter refused
	//	NotFound          the provider has no such model
	//	Exhausted         with bound BoundContext: the request is longer than the model's context
	//	Unavailable       it cannot answer now (too many requests, an error of the server, a broken answer)
	//	Timeout           it did not answer in time
	//	Cancelled         ctx ended
	//
	// The response's usage is right with a fault too, as far as the model knows it. It returns when ctx ends.
	Answer(ctx context.Context, r Request) (Response, error)
}

// BoundContext is the bound of the fault for a request that is longer than the model's context.
const BoundContext = "context"

// Role says whose words a message holds.
type Role string

// The roles.
const (
	System    Role = "system"
	User      Role = "user"
	Assistant Role = "assistant"
	Tool      Role = "tool"
)

// Message is one part of a request.
type Message struct {
	Role Role `json:"role"`
	// Source says where the text came from: a file, a tool call's key. "" for none.
	Source string `json:"source,omitempty"`
	Text   string `json:"text"`
	// Calls are the tool calls that an assistant's message asked for. Each is answered by a Tool message with its ID
	// before the next message of another role.
	Calls []Call `json:"calls,omitempty"`
	// Call is the ID of the call that a Tool message answers. "" is what the model did not ask for: a passage or a tool's
	// result that was gathered before it was asked.
	Call   string `json:"call,omitempty"`
	Failed bool   `json:"failed,omitempty"` // Tool: the call failed, and Text says why
	// Pinned says that no compaction removes the message.
	Pinned bool `json:"pinned,omitempty"`
	// Cache is a hint: everything up to this message will be sent again, so a provider's prompt cache should keep it.
	Cache bool `json:"cache,omitempty"`
}

// Call is a tool call that a model asks for.
type Call struct {
	ID    string          `json:"id"`
	Name  string          `json:"name"`  // as in Offer.Name; any text, if the model made it up
	Input json.RawMessage `json:"input"` // as the model wrote it if that is JSON, else a JSON string of what it wrote
}

// Offer is a tool that a model may ask for. An adapter whose provider does not allow the name writes it
// otherwise on the wire, and gives it back as it was.
type Offer struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Input       json.RawMessage `json:"input,omitempty"` // JSON Schema; empty accepts any object
}

// Request is one question.
type Request struct {
	Messages []Message `json:"messages"`
	// Tools are what the model may ask for instead of answering. A model that calls no tools ignores them.
	Tools []Offer `json:"tools,omitempty"`
	// Schema is the JSON Schema of the wanted answer; empty asks for text.
	Schema json.RawMessage `json:"schema,omitempty"`
	// OutputMax is the most output tokens; 0 is the model's own limit.
	OutputMax int64 `json:"output_max,omitempty"`
	// Key is the effect's key, for models that honour it. It is no part of the request's identity.
	Key string `json:"-"`
	// Live, if set, is given the answer's text as it grows, from the goroutine that answers. What it was given may be
	// lost or said again by a later attempt: only the response counts.
	Live func(text string) `json:"-"`
}

// Stop says why a model stopped.
type Stop string

// The reasons. "" is StopEnd.
const (
	StopEnd    Stop = "end"    // it had said what it wanted
	StopTools  Stop = "tools"  // it waits for the results of Response.Calls
	StopLength Stop = "length" // OutputMax was reached: the output may end in the middle
)

// Response is one answer.
type Response struct {
	// Output is the answer: a JSON value of the request's schema, or a JSON string. A model that was asked for a schema and
	// wrote something else gives a JSON string of what it wrote. With Calls it is a text beside them, or empty.
	Output json.RawMessage `json:"output,omitempty"`
	// Calls are the tools that the model wants called before it answers.
	Calls []Call `json:"calls,omitempty"`
	Stop  Stop   `json:"stop,omitempty"`
	// Problem says that Output is not what was asked for, and why. Whoever did the request found that, not the model.
	Problem string `json:"problem,omitempty"`
	// Extractive says that every word of the answer is quoted from the request, and by what.
	Extractive string `json:"extractive,omitempty"`
	// Sources gives, for each field of the output (a JSON pointer, as in /summary/0), the passage that it quotes.
	Sources []Quote `json:"sources,omitempty"`
	// Usage is all that the answer consumed. Input tokens include those that came from the provider's cache.
	Usage polity.Usage `json:"usage"`
	// Cached are the input tokens that were read from the provider's cache, and CacheWritten those written into it.
	Cached       int64 `json:"cached,omitempty"`
	CacheWritten int64 `json:"cache_written,omitempty"`
	// Model is the model that answered as the provider calls it, where it says so.
	Model string `json:"model,omitempty"`
}

// Quote is a passage with its source.
type Quote struct {
	Field  string  `json:"field"` // JSON pointer into Output
	Source string  `json:"source,omitempty"`
	Line   int     `json:"line,omitempty"` // line of the message's text, from 1
	Text   string  `json:"text"`
	Score  float64 `json:"score"`
}
