package rest

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/gateway/door"
	"polity.run/message"
	"polity.run/schema"
)

// apiVersion is that of the API, and not of the program.
const apiVersion = "1.0.0"

const apiAbout = `Organizations of agents, their runs and what they ask people.

Everything is JSON. What goes wrong is answered as application/problem+json (RFC 9457), with one of a few kinds. Lists come in pages: next of one is
after of the page behind it. Lists are read from tables that are made from the log a moment later; every answer has the header Polity-Position, the last
commit that was acknowledged when it was given, and a list that is asked with at=POSITION waits until it tells of that commit.

A run's ID is one segment of a path: the slashes in the ID of a run below another one are written %2F, and the # in the key of a question is written %23.`

// describe describes and serves what is described. See https://spec.openapis.org/oas/v3.1.1.
func (s *Server) describe(mux *http.ServeMux) {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	for t, as := range map[reflect.Type]reflect.Type{
		reflect.TypeFor[polity.Duration]():  reflect.TypeFor[durationText](),
		reflect.TypeFor[polity.Status]():    reflect.TypeFor[statusText](),
		reflect.TypeFor[fault.Kind]():       reflect.TypeFor[kindText](),
		reflect.TypeFor[message.Envelope](): reflect.TypeFor[anObject](),
		reflect.TypeFor[schema.Mapping]():   reflect.TypeFor[anObject](),
		reflect.TypeFor[message.Priority](): reflect.TypeFor[anObject](),
		reflect.TypeFor[polity.RunID]():     reflect.TypeFor[runIDText](),
	} {
		registry.RegisterTypeAlias(t, as)
	}
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Polity", Version: apiVersion, Description: apiAbout,
				License: &huma.License{Name: "Apache 2.0", Identifier: "Apache-2.0"},
			},
			Servers: []*huma.Server{{URL: "/", Description: "The node that serves this document"}},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", Description: "The token of the state folder's serve.json, or an API key"},
				},
			},
			Security: []map[string][]string{{"token": {}}},
		},
		OpenAPIPath: "/v1/openapi", Formats: huma.DefaultFormats, DefaultFormat: "application/json", RejectUnknownQueryParameters: true,
		Transformers: []huma.Transformer{s.position, instance},
	}
	s.api = humago.New(mux, config)
	s.describeRuns()
	s.describeSteering()
	s.describeOrgs()
	s.describeLists()
	s.describeHooks()
	polish(s.api.OpenAPI())
}

// The rules of most of what can be asked.
var (
	greet      = door.Rule{Verb: access.Greet}
	readAll    = door.Rule{Verb: access.Read, Scope: door.OfNode}
	readSome   = door.Rule{Verb: access.Read, Scope: door.OfAnswer} // of organizations that the one who asks may not read nothing is told
	readRun    = door.Rule{Verb: access.Read, Scope: door.OfRun}
	operateRun = door.Rule{Verb: access.Operate, Scope: door.OfRun}
)

// operation adds what can be asked, and who may. Errors become problems.
func operation[I, O any](s *Server, rule door.Rule, op huma.Operation, do func(context.Context, *I) (*O, error)) {
	s.rules[op.Method+" "+op.Path] = rule
	op.MaxBodyBytes = BodyMax
	op.Extensions = map[string]any{"x-needs": string(rule.Verb)}
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err != nil {
			return nil, s.fails(ctx, err)
		}
		return out, nil
	})
}

// answered is an answer with a body.
type answered[T any] struct{ Body T }

// The statuses of problems that any question, and any that names something, may be answered with.
var (
	alwaysStatuses = []int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable,
		http.StatusGatewayTimeout, http.StatusMisdirectedRequest,
	}
	namedStatuses   = []int{http.StatusNotFound, http.StatusGone}
	changedStatuses = []int{http.StatusConflict, http.StatusInsufficientStorage}
)

// polish says of every operation what all have in common: the problems, and the header that says how far the log is.
func polish(api *huma.OpenAPI) {
	for _, s := range api.Components.Schemas.Map() {
		tidy(s)
	}
	problems := &huma.MediaType{Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}}
	api.Components.Responses = map[string]*huma.Response{}
	for _, status := range slices.Concat(alwaysStatuses, namedStatuses, changedStatuses) {
		api.Components.Responses[problemName(status)] = &huma.Response{
			Description: http.StatusText(status), Content: map[string]*huma.MediaType{"application/problem+json": problems},
		}
	}
	for _, item := range api.Paths {
		for method, op := range map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodDelete: item.Delete} {
			if op == nil {
				continue
			}
			if b := op.RequestBody; b != nil && b.Content["application/json"].Schema.Format == "binary" {
				b.Content["application/json"].Schema = &huma.Schema{Description: "Any JSON"} // it is read as it is, since it is signed
			}
			statuses := slices.Clone(alwaysStatuses)
			if len(op.Parameters) > 0 || method != http.MethodGet {
				statuses = append(statuses, namedStatuses...)
			}
			if method != http.MethodGet {
				statuses = append(statuses, changedStatuses...)
			}
			for status, answer := range op.Responses {
				if status == "default" {
					continue
				}
				if answer.Headers == nil {
					answer.Headers = map[string]*huma.Param{}
				}
				answer.Headers[client.PositionHeader] = &huma.Param{
					Description: "The last commit that was acknowledged when this was answered", Schema: &huma.Schema{Type: "integer", Format: "int64"},
				}
			}
			delete(op.Responses, "default")
			for _, status := range statuses {
				op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + problemName(status)}
			}
		}
	}
}

func problemName(status int) string { return "Problem" + strconv.Itoa(status) }

// tidy makes a schema say what is sent: a list is never null.
func tidy(s *huma.Schema) {
	if s == nil {
		return
	}
	if s.Type == huma.TypeArray {
		s.Nullable = false
	}
	tidy(s.Items)
	for _, p := range s.Properties {
		tidy(p)
	}
}

// --- how values of the program's types are written

type durationText struct{}

// Schema is that of a polity.Duration.
func (durationText) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Description: "A duration, as in 90s or 1h30m", Examples: []any{"1m30s"}}
}

type statusText struct{}

// Schema is that of a polity.Status.
func (statusText) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString, Description: "Where a run stands"}
	for at := polity.StatusRunning; at.Known(); at++ {
		s.Enum = append(s.Enum, at.String())
	}
	return s
}

type kindText struct{}

// Schema is that of a fault.Kind.
func (kindText) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString, Description: "What kind of failure it is"}
	for _, k := range fault.Kinds() {
		s.Enum = append(s.Enum, string(k))
	}
	return s
}

type runIDText struct{}

// Schema is that of a polity.RunID.
func (runIDText) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Description: "The ID of a run", Examples: []any{"0-mfrggzdfmztwq2lk"}}
}

type anObject struct{}

// Schema is that of what is described elsewhere.
func (anObject) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

// --- what questions have in common

// Paged is a question for a page of a list.
type Paged struct {
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"The most items of the answer"`
	After string `query:"after" maxLength:"500" doc:"Next of the page before"`
	Fresh
}

// Fresh is a question that waits for the tables it is read from.
type Fresh struct {
	At uint64 `query:"at" doc:"A commit that the answer has to tell of, as an answer before it had in Polity-Position; left out it is the last one"`
}

// RunPath names a run.
type RunPath struct {
	ID polity.RunID `path:"id" maxLength:"1000" doc:"The run's ID"`
}

// readable are the organizations that whoever asks may read; none for all of them. It returns fault.Denied if there is no such organization.
func readable(ctx context.Context) ([]string, error) {
	orgs, all := access.From(ctx).Orgs(access.Read)
	switch {
	case all:
		return nil, nil
	case len(orgs) == 0:
		return nil, fault.Denied.New("rest: there is no organization that you may read")
	}
	return orgs, nil
}

// ofOrgs are the lists that say of what organization each row is.
var ofOrgs = []polity.LookupOf{polity.LookupRuns, polity.LookupSteps, polity.LookupTexts}

// lookingUp asks the tables for what whoever asks may read. It returns fault.Denied for a list of all organizations together to who may not read all.
func (s *Server) lookingUp(ctx context.Context, q polity.Lookup) (polity.Found, error) {
	orgs, err := readable(ctx)
	if err != nil {
		return polity.Found{}, err
	}
	if len(orgs) > 0 && q.Of != polity.LookupView {
		if !slices.Contains(ofOrgs, q.Of) {
			return polity.Found{}, fault.Denied.New("rest: %s are those of all organizations together: that needs the role viewer in all of them", q.Of)
		}
		for i, org := range orgs {
			orgs[i] = quoted(org)
		}
		q.Filter += " org:" + strings.Join(orgs, ",")
	}
	return s.engine.Lookup(ctx, q)
}

// pageOf makes a page of what was found.
func pageOf[T any](items []T, found *polity.Found) *answered[client.Page[T]] {
	if items == nil {
		items = []T{}
	}
	return &answered[client.Page[T]]{client.Page[T]{Items: items, Next: found.Next, Position: found.View.Position, Lag: found.View.Lag}}
}

// listOf makes a page of all there is.
func listOf[T any](s *Server, items []T) *answered[client.Page[T]] {
	if items == nil {
		items = []T{}
	}
	return &answered[client.Page[T]]{client.Page[T]{Items: items, Position: s.engine.Position()}}
}

// patience reads how long somebody waits for an answer.
func patience(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > waitMax {
		return 0, fault.Invalid.New("rest: wait: %.40q: want a duration up to %s, as in 30s", text, waitMax)
	}
	return d, nil
}

// position says in the header of an answer how far the log is. It is called by huma for every answer.
func (s *Server) position(ctx huma.Context, _ string, v any) (any, error) {
	ctx.SetHeader(client.PositionHeader, strconv.FormatUint(s.engine.Position(), 10))
	return v, nil
}
