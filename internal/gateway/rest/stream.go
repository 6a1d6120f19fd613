package rest

import (
	"net/http"
	"sync"
	"time"

	"polity.run/client"
)

// stream writes pieces as they come, and something else while there is nothing to say. A reader that takes nothing for
// writeWait, and writeSlack at most, is given up.
type stream struct {
	mu    sync.Mutex
	w     http.ResponseWriter
	rc    *http.ResponseController
	err   error // the first one; afterwards nothing is written
	sign  []byte
	every time.Duration
	beat  *time.Timer
	limit time.Time // when its reader is given up
	ended bool
}

// newStream begins a stream of a media type, which gives a sign of life so often.
func newStream(w http.ResponseWriter, media string, sign []byte, every time.Duration) *stream {
	s := &stream{w: w, rc: http.NewResponseController(w), sign: sign, every: every}
	w.Header().Set("Content-Type", media)
	s.mu.Lock()
	defer s.mu.Unlock()
	// The limit for a whole request is none for a stream's answer.
	if s.err = s.rc.SetReadDeadline(time.Time{}); s.err == nil {
		w.WriteHeader(http.StatusOK)
		s.put(nil)
	}
	s.beat = time.AfterFunc(every, s.heartbeat)
	return s
}

// write writes one line.
func (s *stream) write(l client.Line) error {
	data, err := lineOf(l)
	if err != nil {
		return err
	}
	return s.raw(data)
}

// raw writes what has its form already.
func (s *stream) raw(data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(data)
	return s.err
}

// lines begins a stream of lines of JSON, with empty ones as signs of life.
func lines(w http.ResponseWriter) *stream {
	return newStream(w, "application/x-ndjson", []byte("\n"), heartbeat)
}

func (s *stream) heartbeat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.err != nil {
		return
	}
	s.put(s.sign)
	s.beat.Reset(s.every)
}

func (s *stream) put(data []byte) {
	if now := time.Now(); s.err == nil && s.limit.Sub(now) < writeWait { // moved ahead by a little more, and not for each piece
		s.limit = now.Add(writeWait + writeSlack)
		s.err = s.rc.SetWriteDeadline(s.limit)
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
