// Package web makes tools of HTTP requests.
//
// It exists so that a service is a tool by declaration: which hosts may be reached, what is sent, what a repetition does. The life of a
// call:
//
//	input, checked -> URL, query, body, headers -> the connection, guarded by package dial -> JSON, or a fault
package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/schema"
	"polity.run/tool"
	"polity.run/tool/dial"
)

// Limits.
const (
	ToolsMax  = tool.HTTPToolsMax
	errorMax  = 500     // bytes of a service's error that go into a fault
	bodyMax   = 4 << 20 // bytes of an answer
	version   = "1"
	queryItem = 8 << 10 // bytes of one value in an address
)

// Tools returns the tools of a source. It returns fault.Invalid saying what is wrong with the declaration, all at once. Nothing is connected yet.
func Tools(src tool.Source) ([]tool.Tool, error) {
	made, err := build(src)
	tools := make([]tool.Tool, len(made))
	for i, m := range made {
		tools[i] = m
	}
	return tools, err
}

// request is one tool.
type request struct {
	spec    tool.Spec
	d       tool.HTTPTool
	headers map[string]string
	client  *http.Client
	accepts *schema.Schema
}

var _ tool.Tool = (*request)(nil)

var placeholder = regexp.MustCompile(`\{([^{}]*)\}`)

func build(src tool.Source) ([]*request, error) {
	h := src.HTTP
	if h == nil {
		return nil, fault.Invalid.New("tools %s: not of kind http", src.Name)
	}
	if len(h.Tools) == 0 || len(h.Tools) > ToolsMax {
		return nil, fault.Invalid.New("tools %s: %d requests; want 1 to %d", src.Name, len(h.Tools), ToolsMax)
	}
	if len(h.Allow) == 0 {
		return nil, fault.Invalid.New("tools %s: allow: name the hosts that may be reached, as in [api.example.com]", src.Name)
	}
	client := dial.Client(h.Private, h.Allow)
	var out []*request
	var problems []error
	seen := map[string]bool{}
	for _, d := range h.Tools {
		r, err := newRequest(src, d)
		if err == nil && seen[d.Name] {
			err = fault.Invalid.New("declared twice")
		}
		if err != nil {
			problems = append(problems, fault.Invalid.New("tool %s.%s: %w", src.Name, d.Name, err))
			continue
		}
		seen[d.Name] = true
		r.client, r.headers = client, h.Headers
		out = append(out, r)
	}
	return out, errors.Join(problems...)
}

func newRequest(src tool.Source, d tool.HTTPTool) (*request, error) {
	d.Method = strings.ToUpper(d.Method)
	if d.Method == "" {
		d.Method = http.MethodGet
	}
	if !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, d.Method) {
		return nil, fault.Invalid.New("method %q: want GET, HEAD, POST, PUT, PATCH or DELETE", d.Method)
	}
	u, err := url.Parse(placeholder.ReplaceAllString(d.URL, "x"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fault.Invalid.New("url %q: want an address as in https://api.example.com/things/{id}", d.URL)
	}
	if before, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(d.URL, "https://"), "http://"), "/"); placeholder.MatchString(before) {
		return nil, fault.Invalid.New("url %q: a placeholder may not stand in the host", d.URL)
	}
	if err := checkFields(&d); err != nil {
		return nil, err
	}
	if len(d.Input) == 0 {
		d.Input = inputOf(d.URL)
	}
	accepts, err := schema.Compile(d.Input)
	if err != nil {
		return nil, fault.Invalid.New("input: %w", err)
	}
	if _, err := schema.Compile(d.Output); err != nil {
		return nil, fault.Invalid.New("output: %w", err)
	}
	effect := d.Effect
	switch {
	case effect != "":
	case src.Effects[d.Name] != "":
		effect = src.Effects[d.Name]
	case d.KeyHeader != "":
		effect = polity.EffectKeyed
	case d.Method == http.MethodGet || d.Method == http.MethodHead:
		effect = polity.EffectNone
	case d.Method == http.MethodPut || d.Method == http.MethodDelete:
		effect = polity.EffectIdempotent
	default:
		effect = polity.EffectExternal
	}
	if err := effect.Check(); err != nil {
		return nil, err
	}
	if effect == polity.EffectKeyed && d.KeyHeader == "" {
		return nil, fault.Invalid.New("effect keyed: key_header says in which header the service takes the key")
	}
	description := d.Description
	if description == "" {
		description = d.Method + " " + d.URL
	}
	s := tool.Spec{
		Name: src.Name + "." + d.Name, Version: version, Description: description, Input: d.Input, Output: d.Output,
		Effect: effect, Timeout: time.Duration(d.Timeout), OutputMax: bodyMax,
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	return &request{spec: s, d: d, accepts: accepts}, nil
}

// inputOf is the schema of an input that only fills the address.
func inputOf(address string) json.RawMessage {
	var names []string
	for _, m := range placeholder.FindAllStringSubmatch(address, -1) {
		if !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	return tool.Texts(names)
}

func (r *request) Spec() tool.Spec { return r.spec }

// Call sends the request. It returns fault.Invalid for input that the schema refuses and for most statuses from 400, fault.Denied for
// 401, 403 and what may not be reached, NotFound for 404 and 410, Conflict for 409, Unavailable for 408, 429 and from 500. When the answer
// is lost, an external request ends as fault.Unknown.
func (r *request) Call(ctx context.Context, c tool.Call) (json.RawMessage, error) {
	if len(c.Input) == 0 {
		c.Input = json.RawMessage("{}")
	}
	if err := r.accepts.Check(c.Input); err != nil {
		return nil, fault.Invalid.New("tool %s: input: %w", r.spec.Name, err)
	}
	if r.spec.Effect == polity.EffectExternal {
		ctx = dial.Once(ctx)
	}
	q, err := r.make(ctx, c)
	if err != nil {
		return nil, err
	}
	a, err := r.client.Do(q)
	if err != nil {
		return nil, r.lost(ctx, err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(io.LimitReader(a.Body, bodyMax+1))
	if err != nil {
		return nil, r.lost(ctx, err)
	}
	if a.StatusCode < 200 || a.StatusCode > 299 {
		return nil, r.refused(a, body)
	}
	if len(body) > bodyMax {
		return nil, fault.Exceeded("output", "tool %s: an answer of more than %d bytes", r.spec.Name, bodyMax)
	}
	return output(body), nil
}

// output is an answer as JSON: itself, or {"text": ...}, or null for none.
func output(body []byte) json.RawMessage {
	if len(bytes.TrimSpace(body)) == 0 {
		return json.RawMessage("null")
	}
	return tool.JSON(body)
}

// plain is a JSON text's text, and other JSON as it is written; "" for nothing and null.
func plain(raw json.RawMessage) string {
	var text *string
	if json.Unmarshal(raw, &text) == nil {
		if text == nil {
			return ""
		}
		return *text
	}
	return string(raw)
}

// lost is the fault of a request whose answer did not come.
func (r *request) lost(ctx context.Context, err error) error {
	var known *fault.Error
	var network *net.OpError
	switch {
	case errors.As(err, &known):
		return known.Kind.New("tool %s: %s", r.spec.Name, known.Text)
	case errors.As(err, &network) && network.Op == "dial": // it never got there
		return fault.Unavailable.New("tool %s: %s: cannot be reached: %w", r.spec.Name, r.host(), network.Err)
	case r.spec.Effect == polity.EffectExternal:
		return fault.Unknown.New("tool %s: nobody knows whether it was done: %s did not answer", r.spec.Name, r.host())
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.Cancelled.New("tool %s: %w", r.spec.Name, context.Canceled)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.Timeout.New("tool %s: %s did not answer in time", r.spec.Name, r.host())
	default:
		return fault.Unavailable.New("tool %s: %s did not answer whole", r.spec.Name, r.host())
	}
}

func (r *request) host() string {
	u, err := url.Parse(placeholder.ReplaceAllString(r.d.URL, "x"))
	if err != nil {
		return "the service"
	}
	return u.Host
}

func (r *request) refused(a *http.Response, body []byte) error {
	after := ""
	if v := a.Header.Get("Retry-After"); v != "" {
		after = fmt.Sprintf(" (retry after %.40q)", v)
	}
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body[:min(len(body), errorMax)]), "\uFFFD")), " ")
	return dial.Kind(a.StatusCode).New("tool %s: %s%s: %s", r.spec.Name, a.Status, after, text)
}
