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
	// Answer returns one answer, or a fault: Invalid for a request that it can never answer,
	// Unavailable or Timeout where asking again may help. It returns when ctx ends.
	Answer(ctx context.Context, r Request) (Response, error)
}

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
}

// Request is one question.
type Request struct {
	Messages []Message `json:"messages"`
	// Schema is the JSON Schema of the wanted answer; empty asks for text.
	Schema json.RawMessage `json:"schema,omitempty"`
	// OutputMax is the most output tokens; 0 is the model's own limit.
	OutputMax int64 `json:"output_max,omitempty"`
	// Key is the effect's key, for models that honour it. It is no part of the request's identity.
	Key string `json:"-"`
}

// Response is one answer.
type Response struct {
	// Output is the answer: a JSON value of the request's schema, or a JSON string.
	Output json.RawMessage `json:"output"`
	// Extractive says that every word of the answer is quoted from the request, and by what.
	Extractive string `json:"extractive,omitempty"`
	// Sources gives, for each field of the output (a JSON pointer, as in /summary/0), the passage that it quotes.
	Sources []Quote      `json:"sources,omitempty"`
	Usage   polity.Usage `json:"usage"`
}

// Quote is a passage with its source.
type Quote struct {
	Field  string  `json:"field"` // JSON pointer into Output
	Source string  `json:"source,omitempty"`
	Line   int     `json:"line,omitempty"` // line of the message's text, from 1
	Text   string  `json:"text"`
	Score  float64 `json:"score"`
}
