package rest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/filter"
)

// place is where an event is in the log: a commit, and its number among those of it that are told, from 1.
type place struct {
	commit uint64
	n      int
}

// whole is the number behind all of a commit's.
const whole = math.MaxInt32

// String writes a place as parsePlace reads it.
func (p place) String() string {
	if p.n == whole {
		return strconv.FormatUint(p.commit, 10)
	}
	return fmt.Sprintf("%d.%d", p.commit, p.n)
}

// after says whether p comes behind q.
func (p place) after(q place) bool { return p.commit > q.commit || p.commit == q.commit && p.n > q.n }

// parsePlace reads a place, or a bare commit, of which everything was seen; "" is before everything.
func parsePlace(text string) (place, error) {
	if text == "" {
		return place{}, nil
	}
	commit, n, part := strings.Cut(text, ".")
	p := place{n: whole}
	var err error
	if p.commit, err = strconv.ParseUint(commit, 10, 63); err == nil && part {
		p.n, err = strconv.Atoi(n)
	}
	if err != nil || p.n < 0 || p.n > whole {
		return place{}, fault.Invalid.New("rest: %.40q is no place in the log: want COMMIT.NUMBER, as an event's id", text)
	}
	return p, nil
}

// places counts events.
type places struct{ last place }

// next is the place of the next event, which is of a commit.
func (p *places) next(commit uint64) place {
	if commit != p.last.commit {
		p.last = place{commit: commit}
	}
	p.last.n++
	return p.last
}

// errPage ends the reading of a log when a page is full.
var errPage = errors.New("the page is full")

func (s *Server) describeEvents() {
	type telling struct {
		RunPath
		After  string `query:"after" maxLength:"40" doc:"The id of the last event that is known"`
		Limit  int    `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"The most events of a list; a stream has no limit"`
		Data   bool   `query:"data" doc:"With inputs and outputs, in a list"`
		Accept string `header:"Accept" doc:"text/event-stream for a stream that goes on until the run has ended"`
		Last   string `header:"Last-Event-ID" maxLength:"40" doc:"In place of after, as clients of streams send it by themselves"`
	}
	told := s.api.OpenAPI().Components.Schemas
	page := told.Schema(reflect.TypeFor[client.Page[client.Told]](), true, "")
	one := told.Schema(reflect.TypeFor[client.Told](), true, "")
	operation(s, readRun, huma.Operation{
		OperationID: "listEvents", Method: http.MethodGet, Path: "/v1/runs/{id}/events", Tags: []string{tagRuns}, Summary: "What happened to a run",
		Description: "Everything that the log tells of it and the runs below it, as a list, or as a stream of server-sent events: what has happened, and then what " +
			"happens, until the run has ended, which an event named end says. An event's id is its place; a client that comes back with Last-Event-ID " +
			"misses nothing and gets nothing twice. Events without an id tell what has begun and is not in the log yet.",
		Responses: map[string]*huma.Response{"200": {Description: "The events", Content: map[string]*huma.MediaType{
			"application/json": {Schema: page}, eventStream: {Schema: one},
		}}, "204": {Description: "The run has ended, and all of its events are known: clients of streams do not come back"}},
	}, func(ctx context.Context, in *telling) (*huma.StreamResponse, error) {
		from := in.After
		if in.Last != "" {
			from = in.Last
		}
		after, err := parsePlace(from)
		if err != nil {
			return nil, err
		}
		at, err := s.engine.Find(ctx, in.ID.Root())
		if err != nil {
			return nil, err
		}
		if wantsStream(in.Accept) {
			return s.streamRun(ctx, in.ID, at, after)
		}
		events, more, err := s.events(ctx, in.ID, after, in.Limit, in.Data)
		if err != nil {
			return nil, err
		}
		list := listOf(s, events).Body
		if more {
			list.Next = events[len(events)-1].ID
		}
		return streaming(func(w http.ResponseWriter, _ *http.Request) { s.answer(w, http.StatusOK, list) }), nil
	})

	type changing struct {
		Q    string `query:"q" maxLength:"4096" doc:"Fields org, agent, kind, run, root, step, to and status, as in org:support kind:finished -status:completed"`
		From string `query:"after" maxLength:"40" doc:"The id of the last change that is known; left out, it begins with what comes"`
		Last string `header:"Last-Event-ID" maxLength:"40" doc:"In place of after, as clients of streams send it by themselves"`
	}
	operation(s, readSome, huma.Operation{
		OperationID: "watchRuns", Method: http.MethodGet, Path: "/v1/events", Tags: []string{tagRuns}, Summary: "What happens to all runs",
		Description: "A stream of server-sent events, each with the id at which to go on: a client that comes back with Last-Event-ID misses nothing and gets nothing twice. " +
			"An event named position has no data but how far the log is: it is sent when nothing that q asks for has happened for a while.",
		Responses: map[string]*huma.Response{"200": {Description: "The changes, as they are in the log", Content: map[string]*huma.MediaType{
			eventStream: {Schema: told.Schema(reflect.TypeFor[client.Change](), true, "")},
		}}},
	}, func(ctx context.Context, in *changing) (*huma.StreamResponse, error) {
		from := in.From
		if in.Last != "" {
			from = in.Last
		}
		if from == "" {
			from = strconv.FormatUint(s.engine.Position(), 10)
		}
		after, err := parsePlace(from)
		if err != nil {
			return nil, err
		}
		fits, err := changesLike(in.Q)
		if err != nil {
			return nil, err
		}
		if orgs, all := access.From(ctx).Orgs(access.Read); !all {
			wanted := fits
			fits = func(c *client.Change) bool { return slices.Contains(orgs, c.Org) && wanted(c) }
		}
		return streaming(func(w http.ResponseWriter, r *http.Request) { s.watch(w, r, after, fits) }), nil
	})
}

// events lists what the log tells of a run, behind a place.
func (s *Server) events(ctx context.Context, id polity.RunID, after place, limit int, data bool) (list []client.Told, more bool, err error) {
	var at places
	err = s.engine.History(ctx, id.Root(), func(n polity.Notice) error {
		if n.Run != id && !inside(n.Run, id) {
			return nil
		}
		here := at.next(n.Commit)
		switch {
		case !here.after(after):
			return nil
		case len(list) == limit:
			more = true
			return errPage
		}
		if !data {
			n.Data = nil
		}
		list = append(list, client.Told{ID: here.String(), Notice: n})
		return nil
	})
	if errors.Is(err, errPage) {
		err = nil
	}
	return list, more, err
}

// streamRun streams what happened to a run behind a place, and then what happens.
func (s *Server) streamRun(ctx context.Context, id polity.RunID, run polity.Summary, after place) (*huma.StreamResponse, error) {
	if run.Status.Final() && after != (place{}) {
		_, err := s.nextEvent(ctx, id, after)
		if errors.Is(err, errNothing) {
			return streaming(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }), nil
		}
		if err != nil {
			return nil, err
		}
	}
	return streaming(func(w http.ResponseWriter, r *http.Request) {
		ctx, leave := s.whileOpen(r)
		defer leave()
		out := newSSE(w)
		defer out.close()
		var at places
		err := Follow(ctx, s.engine, id.Root(), func(n polity.Notice) error {
			if n.Run != id && !inside(n.Run, id) {
				return nil
			}
			if n.Kind == "started" {
				return out.event("", "started", client.Told{Notice: n})
			}
			here := at.next(n.Commit)
			if !here.after(after) {
				return nil
			}
			return out.event(here.String(), "", client.Told{ID: here.String(), Notice: n})
		})
		if err == nil {
			err = s.sayEnd(ctx, out, id.Root())
		}
		if err != nil {
			s.log.Debug("rest: a stream has ended", "run", id, "error", err)
		}
	}), nil
}

// sayEnd tells a stream that its run has ended.
func (s *Server) sayEnd(ctx context.Context, out sse, id polity.RunID) error {
	run, err := s.engine.Find(ctx, id)
	if err != nil {
		return err
	}
	return out.event("", "end", run)
}

// errNothing says that there is no event behind a place.
var errNothing = errors.New("nothing comes behind it")

// nextEvent is the first event of a run behind a place.
func (s *Server) nextEvent(ctx context.Context, id polity.RunID, after place) (client.Told, error) {
	list, _, err := s.events(ctx, id, after, 1, false)
	switch {
	case err != nil:
		return client.Told{}, err
	case len(list) == 0:
		return client.Told{}, errNothing
	}
	return list[0], nil
}

// --- which changes are wanted

var changeFields = []filter.Field{
	{Name: "org", Doc: "the organization"}, {Name: "agent", Doc: "whose run it is"}, {Name: "kind", Doc: "what happened"}, {Name: "run", Doc: "the run"},
	{Name: "root", Doc: "the root of the run"}, {Name: "step", Doc: "the command"}, {Name: "to", Doc: "the agent, tool or model"},
	{Name: "status", Doc: "how a run ended"},
}

// changesLike reads which changes are wanted.
func changesLike(q string) (func(*client.Change) bool, error) {
	f, err := filter.Parse(q, changeFields, time.Now())
	if err != nil {
		return nil, err
	}
	for _, t := range f.Terms {
		if t.Op != filter.Is && t.Op != filter.Not {
			return nil, fault.Invalid.New("rest: q: changes are chosen by FIELD:VALUE and FIELD!=VALUE")
		}
	}
	return func(c *client.Change) bool {
		for _, t := range f.Terms {
			is := isOneOf(changeField(c, t.Field), t.Values)
			if is != (t.Op == filter.Is) != t.Negated {
				return false
			}
		}
		return true
	}, nil
}

func changeField(c *client.Change, name string) string {
	switch name {
	case "org":
		return c.Org
	case "agent":
		return c.Agent
	case "kind":
		return c.Kind
	case "run":
		return string(c.Run)
	case "root":
		return string(c.Root)
	case "step":
		return c.Step
	case "to":
		return c.To
	}
	return c.Status
}

func isOneOf(text string, values []filter.Value) bool {
	for _, v := range values {
		if text == v.Text || v.Prefix && strings.HasPrefix(text, v.Text) {
			return true
		}
	}
	return false
}
