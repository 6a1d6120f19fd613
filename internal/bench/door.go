package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/gateway/door"
	"polity.run/internal/gateway/rest"
)

// DoorKinds are what Door measures.
var DoorKinds = []string{"answer", "stream"}

// Door measures the REST API of a node as "polity up" serves it, over loopback, with the owner's token: requests that are answered with how their
// run ended beside an echo by net/http that commits once before it answers, and events to many subscribers beside a plain hub.
func Door(ctx context.Context, cfg Config, kinds []string, subscribers int) (points []BusPoint, err error) {
	cfg = cfg.or()
	for _, sync := range cfg.Sync {
		for _, kind := range kinds {
			var p []BusPoint
			switch kind {
			case "answer":
				p, err = answers(ctx, cfg, sync)
			case "stream":
				p, err = streams(ctx, cfg, sync, subscribers)
			default:
				err = fault.Invalid.New("bench: nothing of the door is called %q", kind)
			}
			if err != nil {
				return nil, err
			}
			for i := range p {
				p[i].What, p[i].Sync = kind, sync
			}
			points = append(points, p...)
		}
	}
	return points, nil
}

const (
	fanOf    = 50       // agents that one run asks, in one commit
	houseOrg = "office" // of the agents
)

// fan asks as many echoes, and ends when all have answered.
type fan struct{}

func (fan) Decide(state any, e polity.Event) (any, []polity.Command) {
	n, _ := state.(int)
	switch {
	case e.Fault != nil:
		return n, []polity.Command{polity.Fail(e.Fault)}
	case n == fanOf:
		return n, []polity.Command{polity.Finish(e.Data)}
	case n > 0:
		return n + 1, nil
	}
	var all []polity.Command
	for i := range fanOf {
		all = append(all, polity.Ask(fmt.Sprintf("e%d", i), "judge", "", e.Data))
	}
	return n + 1, all
}

// served is a node behind a door, and a client of it.
type served struct {
	engine *engine.Engine
	rest   *rest.Server
	url    string
	token  string
	http   *http.Client
	ran    chan error // what serving ended with
}

// openServed opens a node with a view and a door. Its agents are a clerk, a function, and a judge and a fan, which decide; all of them answer at once.
func openServed(ctx context.Context, dir string, sync engine.Sync) (*served, error) {
	clerk := &agent.Agent{
		Name: "clerk", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "do"}},
		Handle: func(_ context.Context, m polity.Message) (json.RawMessage, error) { return m.Body, nil },
	}
	judge := &agent.Agent{Name: "judge", Version: "1", Skills: []polity.Skill{{Name: "do"}}, Decider: echo{}}
	many := &agent.Agent{Name: "fan", Version: "1", Skills: []polity.Skill{{Name: "do"}}, Decider: fan{}}
	e, err := openHouse(ctx, engine.Config{State: dir, Sync: sync, Agents: []*agent.Agent{clerk, judge, many}, View: true}, &agent.Release{
		Name: houseOrg, Main: "clerk", Agents: []agent.Definition{clerk.Definition(), judge.Definition(), many.Definition()},
	})
	if err != nil {
		return nil, err
	}
	d, err := door.Open(ctx, e, door.Config{})
	if err != nil {
		return nil, first(err, e.Close())
	}
	s := &served{engine: e, rest: rest.New(e, d, nil), url: d.URL(), http: loopback(), ran: make(chan error, 1)}
	go func() { s.ran <- s.rest.Run(ctx) }()
	token, err := os.ReadFile(filepath.Join(dir, door.TokenFile))
	if err != nil {
		return nil, errors.Join(fault.Unavailable.New("bench: %w", err), s.Close())
	}
	s.token = strings.TrimSpace(string(token))
	return s, nil
}

func (s *served) Close() error {
	s.http.CloseIdleConnections()
	return errors.Join(s.rest.Close(), <-s.ran, s.engine.Close())
}

// loopback is a client that keeps the connections that it has.
func loopback() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connectionsMax, DialContext: (&net.Dialer{}).DialContext}}
}

const connectionsMax = 4096 // that a client keeps

// post asks an agent, and returns the answer, which must have the status.
func post(ctx context.Context, c *http.Client, url, token string, body []byte, status int) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, fault.Internal.New("bench: %w", err)
	}
	q.Header.Set("Authorization", "Bearer "+token)
	q.Header.Set("Content-Type", "application/json")
	r, err := c.Do(q)
	if err != nil {
		return nil, fault.Unavailable.New("bench: %w", err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return nil, fault.Unavailable.New("bench: %w", err)
	case r.StatusCode != status:
		return nil, fault.Failed.New("bench: answered %s, want %d: %.300s", r.Status, status, data)
	}
	return data, nil
}

// order is what an agent is asked.
func order(name polity.AgentName) []byte {
	return fmt.Appendf(nil, `{"org":%q,"agent":%q,"input":{"order":17,"customer":"c-1049","items":[{"sku":"A-17","count":2}],"note":"as soon as you can, please"}}`, houseOrg, name)
}

// ask has an agent answer within the request.
func (s *served) ask(ctx context.Context, body []byte) ([]byte, error) {
	data, err := post(ctx, s.http, s.url+"/v1/runs?wait=30s", s.token, body, http.StatusOK)
	if err != nil {
		return nil, err
	}
	var o client.Opened
	if err := json.Unmarshal(data, &o); err != nil || o.Status != polity.StatusCompleted {
		return nil, fault.Failed.New("bench: a run did not end as it should: %.300s", data)
	}
	return data, nil
}

// asked makes a function that asks an agent.
func (s *served) asked(name string, who polity.AgentName) timed {
	body := order(who)
	return alone(name, func(ctx context.Context, _ int) error {
		_, err := s.ask(ctx, body)
		return err
	})
}

// answers measures requests that are answered.
func answers(ctx context.Context, cfg Config, sync engine.Sync) (points []BusPoint, err error) {
	dir, remove, err := cfg.folder()
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, remove()) }()
	s, err := openServed(ctx, filepath.Join(dir, "polity"), sync)
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, s.Close()) }()
	body := order("judge")
	answer, err := s.ask(ctx, body)
	if err != nil {
		return nil, err
	}
	limits, err := openLimits(ctx, dir, sync, answer)
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, limits.Close()) }()
	systems := []timed{
		alone("echo and a commit", func(ctx context.Context, _ int) error { return limits.ask(ctx, body) }),
		s.asked("POST to a decider", "judge"),
		s.asked("POST to a function", "clerk"),
	}
	for _, at := range cfg.At {
		cfg.Progress(fmt.Sprintf("POST, an agent and its answer, sync %s, %d at once", sync, at))
		p, err := cfg.beside(ctx, at, systems, nil)
		if err != nil {
			return nil, err
		}
		points = append(points, p...)
	}
	return points, nil
}

// limits is a server of net/http that reads a request, commits to JetStream, and answers with the bytes of an answer. Requests that come while a commit
// is under way share the next one.
type limits struct {
	packed *grouped
	http   *http.Client
	server *http.Server
	url    string
	ran    chan error
}

func openLimits(ctx context.Context, dir string, sync engine.Sync, answer []byte) (*limits, error) {
	packed, err := openPacked(ctx, dir, sync != engine.SyncOS)
	if err != nil {
		return nil, err
	}
	l := &limits{packed: packed, http: loopback(), ran: make(chan error, 1)}
	l.server, l.url, err = serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		if err == nil {
			err = packed.g.commit(2, make(chan error, 1))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer) // a client that is gone says so itself
	}), l.ran)
	if err != nil {
		return nil, errors.Join(err, packed.Close())
	}
	return l, nil
}

// serve serves on a free port of this machine, and says with what that ended.
func serve(h http.Handler, ran chan<- error) (*http.Server, string, error) {
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", fault.Unavailable.New("bench: %w", err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		err := s.Serve(at)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		ran <- err
	}()
	return s, "http://" + at.Addr().String(), nil
}

func (l *limits) ask(ctx context.Context, body []byte) error {
	_, err := post(ctx, l.http, l.url, "none", body, http.StatusOK)
	return err
}

func (l *limits) Close() error {
	l.http.CloseIdleConnections()
	return errors.Join(l.server.Close(), <-l.ran, l.packed.Close())
}
