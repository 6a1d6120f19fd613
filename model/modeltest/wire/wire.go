// Package wire is a local HTTP server that speaks the wire protocols of model providers: OpenAI's chat completions and
// Anthropic's messages.
//
// It exists so that adapters, and organizations that use them, are tested against the real protocol without a provider: with answers
// by a script, with everything that goes wrong out there, and with its own eye on whether each request keeps the protocol's rules.
package wire

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"polity.run/model"
)

const requestMax = 32 << 20 // bytes

// Reply is one answer. The zero Reply answers with an empty text.
type Reply struct {
	Status  int               // other than 200: the provider's error, with Text as its message
	Code    string            // of the error, as in context_length_exceeded
	Header  map[string]string // as Retry-After
	Text    string            // what the model says, in several pieces
	Calls   []model.Call      // what it calls; names as on the wire
	Stop    string            // the protocol's word; "" is the one that fits
	Refusal string
	// Input, Output and Cached are the tokens; NoUsage tells none.
	Input, Output, Cached int64
	NoUsage               bool
	Wait                  time.Duration // before the first word
	Cut                   bool          // the connection breaks after the first half
	Raw                   string        // sent instead of all that, with status 200
}

// Seen is a request as it came.
type Seen struct {
	Path    string
	Header  http.Header
	Body    map[string]any
	Raw     []byte
	Request model.Request // what it asks, as far as the protocol tells
	Problem string        // what breaks the protocol's rules; such a request is answered with 400
}

// Server answers by a script and, when that is at its end, by Answer. It is an http.Handler and safe for concurrent use.
type Server struct {
	// Answer answers what the script does not; nil answers "ok", or an empty object.
	Answer func(s Seen) Reply
	// Embeddings answers requests for embeddings, which the script does not: with a Status it refuses them.
	Embeddings Reply

	mu     sync.Mutex
	script []Reply
	seen   []Seen
}

// New returns a server that answers with the replies in their order.
func New(script ...Reply) *Server { return &Server{script: script} }

// Seen returns the requests so far.
func (s *Server) Seen() []Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Seen(nil), s.seen...)
}

// ServeHTTP answers POST .../chat/completions, POST .../messages and POST .../embeddings.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, requestMax))
	if err != nil {
		return // the one who asked is gone
	}
	seen := Seen{Path: r.URL.Path, Header: r.Header.Clone(), Raw: raw}
	if err := json.Unmarshal(raw, &seen.Body); err != nil {
		seen.Problem = "not JSON: " + err.Error()
	}
	chat, embeds := strings.HasSuffix(r.URL.Path, "/chat/completions"), strings.HasSuffix(r.URL.Path, "/embeddings")
	var texts []string
	switch {
	case r.Method != http.MethodPost || !chat && !embeds && !strings.HasSuffix(r.URL.Path, "/messages"):
		seen.Problem = "no such address: " + r.Method + " " + r.URL.Path
	case seen.Problem != "":
	case chat:
		seen.Request, seen.Problem = readChat(raw)
	case embeds:
		texts, seen.Problem = readEmbeddings(raw)
	default:
		seen.Request, seen.Problem = readMessages(raw, r.Header)
	}
	reply := s.next(seen, embeds)
	if seen.Problem != "" {
		reply = Reply{Status: http.StatusBadRequest, Text: seen.Problem, Code: "invalid_request_error"}
	}
	for name, value := range reply.Header {
		w.Header().Set(name, value)
	}
	if reply.Wait > 0 {
		select {
		case <-time.After(reply.Wait):
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case reply.Raw != "":
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, reply.Raw) // the one who asked may be gone
	case reply.Status != 0 && reply.Status != http.StatusOK:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(reply.Status)
		fail := map[string]any{"error": map[string]any{"message": reply.Text, "type": "invalid_request_error", "code": reply.Code}}
		if !chat && !embeds {
			fail = map[string]any{"type": "error", "error": map[string]any{"type": reply.Code, "message": reply.Text}}
		}
		_ = json.NewEncoder(w).Encode(fail) // likewise
	case embeds:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(embeddings(texts, reply)) // the one who asked may be gone
	default:
		var events []string
		if chat {
			events = chatEvents(reply)
		} else {
			events = messageEvents(reply)
		}
		send(w, events, reply.Cut)
	}
}

func (s *Server) next(seen Seen, embeds bool) Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, seen)
	if embeds {
		return s.Embeddings
	}
	if len(s.script) > 0 && seen.Problem == "" {
		reply := s.script[0]
		s.script = s.script[1:]
		return reply
	}
	if s.Answer != nil && seen.Problem == "" {
		return s.Answer(seen)
	}
	if len(seen.Request.Schema) > 0 {
		return Reply{Text: "{}"}
	}
	return Reply{Text: "ok"}
}

func send(w http.ResponseWriter, events []string, cut bool) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	for i, e := range events {
		if cut && i >= len(events)/2 {
			panic(http.ErrAbortHandler) // breaks the connection
		}
		if _, err := io.WriteString(w, e); err != nil {
			return
		}
		if flush.Flush() != nil {
			return
		}
	}
}

// pieces cuts a text in three, in whole characters.
func pieces(text string) []string {
	all := []rune(text)
	if len(all) < 3 {
		return []string{text}
	}
	n := len(all) / 3
	return []string{string(all[:n]), string(all[n : 2*n]), string(all[2*n:])}
}

var toolName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

func problem(format string, args ...any) string { return fmt.Sprintf(format, args...) }
