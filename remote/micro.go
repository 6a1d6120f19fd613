package remote

import (
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"polity.run"
)

// tally counts what was worked on of one kind of question. It is safe for concurrent use.
type tally struct {
	requests, errors, spent atomic.Int64 // spent in nanoseconds
	last                    atomic.Pointer[string]
}

func (t *tally) count(took time.Duration, err error) {
	t.requests.Add(1)
	t.spent.Add(int64(took))
	if err != nil {
		t.errors.Add(1)
		text := err.Error()
		t.last.Store(&text)
	}
}

// stats are how nats micro wants to have it told.
func (t *tally) stats(name, subject string) *micro.EndpointStats {
	s := &micro.EndpointStats{
		Name: name, Subject: subject, QueueGroup: queue, NumRequests: int(t.requests.Load()), NumErrors: int(t.errors.Load()), ProcessingTime: time.Duration(t.spent.Load()),
	}
	if s.NumRequests > 0 {
		s.AverageProcessingTime = s.ProcessingTime / time.Duration(s.NumRequests)
	}
	if text := t.last.Load(); text != nil {
		s.LastError = *text
	}
	return s
}

// micro answers what nats micro asks: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md. The library's own service would count how
// long it takes to accept a question, and not the work, and begin anew with each connection.
func (s *serving) micro(nc *nats.Conn) ([]*nats.Subscription, error) {
	who := micro.ServiceIdentity{Name: string(s.name), ID: s.instance, Version: s.cfg.Version, Metadata: map[string]string{}}
	request, live := Box(s.name, polity.Request), Box(s.name, Live)
	var subs []*nats.Subscription
	for verb, tell := range map[micro.Verb]func() any{
		micro.PingVerb: func() any { return micro.Ping{ServiceIdentity: who, Type: micro.PingResponseType} },
		micro.InfoVerb: func() any {
			return micro.Info{ServiceIdentity: who, Type: micro.InfoResponseType, Description: "an agent of " + s.org, Endpoints: []micro.EndpointInfo{
				{Name: "request", Subject: request, QueueGroup: queue}, {Name: "live", Subject: live, QueueGroup: queue},
			}}
		},
		micro.StatsVerb: func() any {
			return micro.Stats{ServiceIdentity: who, Type: micro.StatsResponseType, Started: s.started, Endpoints: []*micro.EndpointStats{
				s.kept.stats("request", request), s.lived.stats("live", live),
			}}
		},
	} {
		answer := func(m *nats.Msg) {
			data, err := json.Marshal(tell())
			if err == nil && m.Reply != "" {
				err = m.Respond(data)
			}
			if err != nil {
				s.cfg.Log.Warn("answer nats micro", "subject", m.Subject, "error", err)
			}
		}
		for _, to := range [][2]string{{}, {who.Name}, {who.Name, who.ID}} {
			subject, err := micro.ControlSubject(verb, to[0], to[1])
			if err != nil {
				return subs, err
			}
			sub, err := nc.Subscribe(subject, answer)
			if err != nil {
				return subs, err
			}
			subs = append(subs, sub)
		}
	}
	return subs, nil
}
