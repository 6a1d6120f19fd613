package rest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"strconv"

	"polity.run/client"
	"polity.run/fault"
	"polity.run/trace"
)

// statusClientClosed is what others answer too if the one who asked has gone away.
const statusClientClosed = 499

// statuses maps every kind of fault to the status of an answer.
var statuses = map[fault.Kind]int{
	fault.Invalid:         http.StatusBadRequest,
	fault.NotFound:        http.StatusNotFound,
	fault.Conflict:        http.StatusConflict,
	fault.Denied:          http.StatusForbidden,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Exhausted:       http.StatusTooManyRequests,
	fault.Timeout:         http.StatusGatewayTimeout,
	fault.Cancelled:       statusClientClosed,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.Unknown:         http.StatusBadGateway,
	fault.Full:            http.StatusInsufficientStorage,
	fault.Fenced:          http.StatusMisdirectedRequest,
	fault.Damaged:         http.StatusInternalServerError,
	fault.Erased:          http.StatusGone,
	fault.Diverged:        http.StatusConflict,
	fault.Failed:          http.StatusInternalServerError,
	fault.Internal:        http.StatusInternalServerError,
}

// guard lets through what comes from this machine, for this machine, with the token.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if !s.local(r.Host) {
			// A web page can make its own name mean 127.0.0.1; it cannot say another one.
			s.refuse(w, fault.Denied.New("rest: host %.100q is not this node; use %s", r.Host, s.host))
			return
		}
		switch r.Method + " " + r.URL.Path {
		case "GET /livez", "GET /readyz": // whoever watches processes has no token, and learns nothing else
			s.health(w, r)
			return
		}
		given := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		if subtle.ConstantTimeCompare(given[:], s.token[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			s.refuse(w, fault.Unauthenticated.New("rest: the token of %s is needed", client.AddressFile))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, BodyMax)
		next.ServeHTTP(w, s.placed(r))
	})
}

// placed returns a request whose context says where in a trace its caller is.
func (s *Server) placed(r *http.Request) *http.Request {
	c, err := trace.FromHeader(r.Header)
	if err != nil {
		s.log.Debug("rest: a caller's trace is not continued", "error", err)
	}
	if !c.Valid() {
		return r
	}
	return r.WithContext(trace.With(r.Context(), c))
}

// health answers 200 to /livez while the process answers at all, and to /readyz while a new run would be admitted; else 503.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	if err := s.engine.Ready(); err != nil && r.URL.Path == "/readyz" {
		s.answer(w, http.StatusServiceUnavailable, client.ProblemOf(s.cause(err), http.StatusServiceUnavailable))
		return
	}
	s.answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

// metrics answers with the page of metrics.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	page, err := s.engine.Metrics()
	if err != nil {
		s.refuse(w, err)
		return
	}
	page.ServeHTTP(w, r)
}

// local says whether a Host header names this server.
func (s *Server) local(host string) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return false
	}
	_, own, err := net.SplitHostPort(s.host)
	return err == nil && port == own && (name == "127.0.0.1" || name == "localhost")
}

// refuse answers with a fault.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	f := fault.Of(err)
	if f.Kind == fault.Internal {
		s.log.Error("rest: internal fault", "error", f.Text)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	s.answer(w, statuses[f.Kind], client.ProblemOf(err, statuses[f.Kind]))
}

// answer answers with JSON.
func (s *Server) answer(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		s.log.Error("rest: write an answer", "error", err)
		http.Error(w, `{"error":{"kind":"internal","text":"rest: the answer cannot be written"}}`, http.StatusInternalServerError)
		return
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set(client.PositionHeader, strconv.FormatUint(s.engine.Position(), 10))
	w.WriteHeader(status)
	if _, err := w.Write(append(data, '\n')); err != nil {
		s.log.Debug("rest: the one who asked has gone away", "error", err)
	}
}
