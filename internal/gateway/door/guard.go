package door

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/trace"
)

// guard lets a request through to what serves it, or answers why not.
func (d *Door) guard(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'") // what serves a page says what that needs
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	if err := d.addressed(r); err != nil {
		d.Refuse(w, r, err)
		return
	}
	serve, pattern, rule := d.routes.find(r)
	who, err := d.who(r)
	if err != nil && rule.Verb != access.Public {
		if wait := d.rates.failed(r.RemoteAddr, time.Now()); wait > 0 {
			err = busy("this address", wait)
		}
		d.Refuse(w, r, err)
		return
	}
	object, err := d.object(r.Context(), who, rule, pattern, r)
	if err != nil {
		d.Refuse(w, r, err)
		return
	}
	decision := access.Decide(who, rule.Verb, object)
	d.tell(r, who, rule.Verb, pattern, object, decision)
	if decision.Allowed {
		if wait := d.rates.asks(who, time.Now()); wait > 0 {
			d.Refuse(w, r, busy(who.Name, wait))
			return
		}
	}
	rec := d.recorded(w, r, who, rule, pattern, object, decision)
	if rec != nil {
		w, r = rec, rec.request
		defer rec.settle()
		if !decision.Allowed || !object.Later() {
			rec.keep(object, decision)
		}
	}
	switch {
	case !decision.Allowed:
		d.Refuse(w, r, decision.Err())
	case serve == nil:
		d.Refuse(w, r, fault.NotFound.New("door: nothing answers to %s %.200q", r.Method, r.URL.Path))
	default:
		r.Body = http.MaxBytesReader(w, r.Body, BodyMax)
		serve.ServeHTTP(w, d.placed(r.WithContext(access.With(r.Context(), who, func(v access.Verb, o access.Object, decision access.Decision) {
			d.tell(r, who, v, pattern, o, decision)
			if rec != nil && v != access.Read {
				rec.keep(o, decision)
			}
		}))))
	}
}

// addressed refuses what is not for this node, or comes from a page of another one.
func (d *Door) addressed(r *http.Request) error {
	if !d.reached(r) {
		// A web page can make its own name mean 127.0.0.1; it cannot say another one.
		return fault.Denied.New("door: host %.100q is not this node; use %s, or let it in with --host", r.Host, d.URL())
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host && origin != "https://"+r.Host {
		return fault.Denied.New("door: a page of %.100q may not ask this node", origin)
	}
	return nil
}

// who says who asks: by a token in the header, else by a session.
func (d *Door) who(r *http.Request) (access.Who, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case scheme == "":
		c, err := r.Cookie(d.cookie())
		if err != nil {
			return access.Who{}, fault.Unauthenticated.New("door: a token is needed: that of %s, or an API key", client.AddressFile)
		}
		return d.book.Session(c.Value)
	case !strings.EqualFold(scheme, "Bearer"):
		return access.Who{}, fault.Unauthenticated.New("door: want Authorization: Bearer TOKEN")
	default:
		return d.holder(r.Context(), token)
	}
}

// holder says who comes with a token.
func (d *Door) holder(ctx context.Context, token string) (access.Who, error) {
	if strings.HasPrefix(token, access.KeyPrefix) {
		return d.book.Key(ctx, token)
	}
	if d.cfg.Issuer != nil && strings.Count(token, ".") == 2 {
		return d.cfg.Issuer.Who(ctx, token)
	}
	given, own := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(d.token))
	if subtle.ConstantTimeCompare(given[:], own[:]) != 1 {
		return access.Who{}, fault.Unauthenticated.New("door: this token is not known: it is that of %s, or an API key", client.AddressFile)
	}
	return access.TheOwner(d.owner), nil
}

// tell logs a decision.
func (d *Door) tell(r *http.Request, who access.Who, verb access.Verb, pattern string, o access.Object, decision access.Decision) {
	level, text := slog.LevelDebug, "access: allowed"
	if !decision.Allowed {
		level, text = slog.LevelInfo, "access: denied"
	}
	d.log.Log(r.Context(), level, text, "who", who.ID, "name", who.Name, "verb", verb, "asked", pattern, "method", r.Method, "org", o.Org, "run", o.Run,
		"why", decision.Why)
}

// recorded is the answer to a request of which a record is kept: nothing is answered before that is safe. Where the request changes the log of runs the record is in the
// same commit as what it changes. Else it is written while that is done.
type recorded struct {
	http.ResponseWriter
	door    *Door
	request *http.Request
	record  access.Record
	carried *engine.Carried // nil: it is written beside
	begin   sync.Once
	kept    func() error // set by begin
	done    bool
	failed  bool
	told    bool // that it could not be kept
}

// recorded returns the answer to a request that would change something; nil for one that only reads.
func (d *Door) recorded(w http.ResponseWriter, r *http.Request, who access.Who, rule Rule, pattern string, o access.Object, decision access.Decision) *recorded {
	verb := rule.Verb
	if verb == access.Public || verb == access.Greet || verb == access.Read || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	rec := &recorded{ResponseWriter: w, door: d, request: r, record: access.Record{
		At: time.Now().UTC(), Who: who.ID, Name: who.Name, Kind: who.Kind, Verb: verb, Asked: pattern, Object: o, Decision: decision, From: r.RemoteAddr,
	}}
	if decision.Allowed && rule.steers() {
		var ctx context.Context
		ctx, rec.carried = d.engine.Carry(r.Context())
		rec.request = r.WithContext(ctx)
	}
	return rec
}

// steers says that what a rule is for changes the log of runs, as a rule.
func (r Rule) steers() bool {
	return !r.Beside && (r.Verb == access.Operate || r.Verb == access.Answer || r.Scope == OfRun)
}

// keep begins to keep the record, the first time.
func (w *recorded) keep(o access.Object, decision access.Decision) {
	w.begin.Do(func() {
		w.record.Object, w.record.Decision = o, decision
		if w.carried != nil && decision.Allowed {
			w.carried.Offer(w.record)
			w.kept = sync.OnceValue(func() error { return w.carried.Keep(w.door.ctx) })
			return
		}
		kept := make(chan error, 1)
		go func() { kept <- w.door.engine.Audit(w.door.ctx, w.record) }()
		w.kept = sync.OnceValue(func() error { return <-kept })
	})
}

// settle returns when the record is kept, or why it could not be. Nothing that is done later is recorded by it.
func (w *recorded) settle() error {
	w.keep(w.record.Object, w.record.Decision)
	err := w.kept()
	if err != nil && !w.told {
		w.told = true
		w.door.log.Error("door: a record could not be kept", "error", err)
	}
	return err
}

// Unwrap makes http.ResponseController work.
func (w *recorded) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorded) WriteHeader(status int) {
	if w.done {
		if !w.failed {
			w.ResponseWriter.WriteHeader(status)
		}
		return
	}
	w.done = true
	if w.settle() != nil {
		w.failed = true
		w.door.Refuse(w.ResponseWriter, w.request, fault.Unavailable.New("door: it may be done, but no record of it could be kept: ask again"))
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorded) Write(data []byte) (int, error) {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	if w.failed {
		return len(data), nil
	}
	return w.ResponseWriter.Write(data)
}

// placed returns a request whose context says where in a trace its caller is.
func (d *Door) placed(r *http.Request) *http.Request {
	c, err := trace.FromHeader(r.Header)
	if err != nil {
		d.log.Debug("door: a caller's trace is not continued", "error", err)
	}
	if !c.Valid() {
		return r
	}
	return r.WithContext(trace.With(r.Context(), c))
}

// own has the door serve its own: how the node is, sessions, and the page of metrics.
func (d *Door) own() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", d.health) // whoever watches processes has no token, and learns nothing else
	mux.HandleFunc("GET /readyz", d.health)
	mux.HandleFunc("GET /metrics", d.metrics)
	mux.HandleFunc("GET /session", d.session)
	mux.HandleFunc("POST /session", d.begin)
	mux.HandleFunc("DELETE /session", d.end)
	mux.HandleFunc("POST /session/code", d.code)
	d.Serve(mux, Rules{
		"GET /livez":         {Verb: access.Public},
		"GET /readyz":        {Verb: access.Public},
		"GET /metrics":       {Verb: access.Read}, // of all organizations
		"GET /session":       {Verb: access.Public},
		"POST /session":      {Verb: access.Public},
		"DELETE /session":    {Verb: access.Public},
		"POST /session/code": {Verb: access.Greet}, // a session is of who asks for it
	})
}

// health answers 200 to /livez while the process answers at all, and to /readyz while a new run would be admitted and the door stays open; else 503.
func (d *Door) health(w http.ResponseWriter, r *http.Request) {
	err := d.engine.Ready()
	if d.drains.Load() {
		err = fault.Unavailable.New("door: the node is stopping")
	}
	if err != nil && r.URL.Path == "/readyz" {
		d.Refuse(w, r, fault.Unavailable.New("%w", err))
		return
	}
	d.Answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

// metrics answers with the page of metrics.
func (d *Door) metrics(w http.ResponseWriter, r *http.Request) {
	page, err := d.engine.Metrics()
	if err != nil {
		d.Refuse(w, r, err)
		return
	}
	page.ServeHTTP(w, r)
}
