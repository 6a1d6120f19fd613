package model

import (
	"encoding/json"

	"polity.run"
	"polity.run/fault"
)

// API is the wire protocol that a provider speaks.
type API string

// The protocols.
const (
	OpenAI    API = "openai"    // OpenAI's chat completions, which many servers speak
	Anthropic API = "anthropic" // Anthropic's messages
)

// Spec declares a model of a provider, as a release pins it. It holds the name of a key and never a key.
type Spec struct {
	Name   string `json:"name"`              // what agents call it
	API    API    `json:"api"`               // the protocol
	URL    string `json:"url,omitempty"`     // base address; "" is the one of the protocol's own provider
	Model  string `json:"model"`             // what the provider calls it
	KeyEnv string `json:"key_env,omitempty"` // environment variable that holds the key; "" for none
	Price  Price  `json:"price"`
	// ContextMax is the most tokens of a request and its answer together; 0 is ContextDefault.
	ContextMax int64 `json:"context_max,omitempty"`
	// OutputMax is the most tokens of an answer; 0 is OutputDefault.
	OutputMax int64 `json:"output_max,omitempty"`
	// Timeout bounds one attempt, from the connection to the last byte; 0 is TimeoutDefault.
	Timeout polity.Duration `json:"timeout,omitempty"`
	// Attempts is how often a request is sent while the provider cannot answer; 0 is AttemptsDefault.
	Attempts int `json:"attempts,omitempty"`
	// PerMinute and AtOnce limit the requests to the provider with the same URL and key, over all
	// runs of the process; 0 is no limit and AtOnceDefault.
	PerMinute int `json:"per_minute,omitempty"`
	AtOnce    int `json:"at_once,omitempty"`
	// Fallback names models of the same release that are asked in this order when this one is unavailable.
	Fallback []string `json:"fallback,omitempty"`
	// Options are further fields of the provider's request, as {"temperature": 0}. They never replace what is set by a request.
	Options json.RawMessage `json:"options,omitempty"`
}

// Defaults and limits of a Spec.
const (
	ContextDefault  = 128_000
	OutputDefault   = 4096
	TimeoutDefault  = 2 * 60 * 1e9 // nanoseconds: two minutes
	AttemptsDefault = 4
	AttemptsMax     = 10
	AtOnceDefault   = 16
	FallbackMax     = 8
)

// Price is what tokens cost, in thousandths of a dollar per million tokens, which is a nano-dollar a token. The zero Price is free.
type Price struct {
	Input      int64 `json:"input,omitempty"`
	Output     int64 `json:"output,omitempty"`
	CacheRead  int64 `json:"cache_read,omitempty"`  // of input tokens that come from the provider's cache
	CacheWrite int64 `json:"cache_write,omitempty"` // of input tokens that go into it
}

// Cost returns the price of tokens in millionths of a dollar, rounded up. cached and written are parts of input.
func (p Price) Cost(input, output, cached, written int64) int64 {
	nano := (input-cached-written)*p.Input + cached*p.CacheRead + written*p.CacheWrite + output*p.Output
	return (nano + 999) / 1000
}

// Most returns the most that input and output tokens can cost, whatever the provider's cache does.
func (p Price) Most(input, output int64) int64 {
	return (input*max(p.Input, p.CacheRead, p.CacheWrite) + output*p.Output + 999) / 1000
}

// Check returns nil, or fault.Invalid saying what is wrong with the declaration alone.
func (s Spec) Check() error {
	switch {
	case s.Name == "":
		return fault.Invalid.New("model: a name is needed")
	case s.API != OpenAI && s.API != Anthropic:
		return fault.Invalid.New("model %s: api %q: want openai or anthropic", s.Name, s.API)
	case s.Model == "":
		return fault.Invalid.New("model %s: the provider's name of the model is needed", s.Name)
	case s.Price.Input < 0 || s.Price.Output < 0 || s.Price.CacheRead < 0 || s.Price.CacheWrite < 0:
		return fault.Invalid.New("model %s: a price is negative", s.Name)
	case s.ContextMax < 0 || s.OutputMax < 0 || s.Timeout < 0 || s.Attempts < 0 || s.PerMinute < 0 || s.AtOnce < 0:
		return fault.Invalid.New("model %s: a limit is negative; leave it out for the default", s.Name)
	case s.Attempts > AttemptsMax:
		return fault.Invalid.New("model %s: %d attempts are more than %d", s.Name, s.Attempts, AttemptsMax)
	case len(s.Fallback) > FallbackMax:
		return fault.Invalid.New("model %s: %d fallbacks are more than %d", s.Name, len(s.Fallback), FallbackMax)
	default:
		return nil
	}
}
