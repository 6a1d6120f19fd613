package rest

import (
	"net/http"
	"sync"
	"time"

	"polity.run/client"
)

// stream writes lines, and empty ones while there is nothing to say. A reader that takes nothing for
// writeWait is given up.
type stream struct {
	mu    sync.Mutex
	w     http.ResponseWriter
	rc    *http.ResponseController
	err   error // the first one; afterwards nothing is written
	beat  *time.Timer
	ended bool
}

func newStream(w http.ResponseWriter) *stream {
	s := &stream{w: w, rc: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "application/x-ndjson")
	s.mu.Lock()
	defer s.mu.Unlock()
	// The limit for a whole request is none for a stream's answer.
	if s.err = s.rc.SetReadDeadline(time.Time{}); s.err == nil {
		w.WriteHeader(http.StatusOK)
		s.put(nil)
	}
	s.beat = time.AfterFunc(heartbeat, s.heartbeat)
	return s
}

// write writes one line.
func (s *stream) write(l client.Line) error {
	data, err := lineOf(l)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(data)
	return s.err
}

func (s *stream) heartbeat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.err != nil {
		return
	}
	s.put([]byte("\n"))
	s.beat.Reset(heartbeat)
}

func (s *stream) put(data []byte) {
	if s.err == nil {
		s.err = s.rc.SetWriteDeadline(time.Now().Add(writeWait))
	}
	if s.err == nil && len(data) > 0 {
		_, s.err = s.w.Write(data)
	}
	if s.err == nil {
		s.err = s.rc.Flush()
	}
}

// close ends the heartbeats: the writer belongs to the server again.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.beat.Stop()
}
