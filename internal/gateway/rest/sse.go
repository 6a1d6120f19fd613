package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const eventStream = "text/event-stream"

// wantsStream says whether an Accept header asks for a stream of events, and not for JSON first.
func wantsStream(accept string) bool {
	stream, doc := strings.Index(accept, eventStream), strings.Index(accept, "application/json")
	return stream >= 0 && (doc < 0 || stream < doc)
}

// sse writes a stream of server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html.
type sse struct{ *stream }

// newSSE begins a stream. A client whose connection was cut comes back after a second.
func newSSE(w http.ResponseWriter) sse {
	s := sse{newStream(w, eventStream, []byte(": alive\n\n"), sseHeartbeat)}
	s.raw([]byte("retry: 1000\n\n"))
	return s
}

// frame is one event as it is written. "" is no ID, which leaves the client's last one as it is, and no name, which is "message".
func frame(id, name string, v any) ([]byte, error) {
	data, err := json.Marshal(v) // on one line
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	if name != "" {
		b.WriteString("event: " + name + "\n")
	}
	b.WriteString("data: ")
	b.Write(data)
	b.WriteString("\n\n")
	return b.Bytes(), nil
}

// event writes one event.
func (s sse) event(id, name string, v any) error {
	data, err := frame(id, name, v)
	if err != nil {
		return err
	}
	return s.raw(data)
}

// streaming is an answer that f writes by itself.
func streaming(f func(w http.ResponseWriter, r *http.Request)) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		f(w, r)
	}}
}
