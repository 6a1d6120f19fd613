// Package trace is the place in a distributed trace that a call is made from, as W3C Trace Context writes it
// (https://www.w3.org/TR/trace-context/).
//
// It exists so that a run continues its caller's trace, and what the run calls continues the run's, whoever watches them and with whatever library.
// A [Context] is taken at a door (a header, an environment variable), travels in a context.Context, is kept with the run, and goes out in the
// same form:
//
//	FromHeader, FromEnviron -> With -> From -> Request, Environ, Each
//
// What is malformed is no reason to refuse a request: it is taken for nothing, as the standard wants it. The error says why, for a log.
package trace

import (
	"context"
	"encoding/hex"
	"net/http"
	"os"
	"slices"
	"strings"

	"polity.run/fault"
)

// The names of both parts: as headers in any case, as variables of the environment in capitals, and as keys of metadata.
const (
	Parent = "traceparent"
	State  = "tracestate"
)

// Flags of a Context. Others are dropped: nobody may pass on what they do not understand.
const (
	Sampled byte = 1 // the caller may have recorded its span
	Random  byte = 2 // the trace's ID was drawn at random
)

// Limits of a state, all of the standard.
const (
	stateMax   = 512 // bytes that are passed on
	membersMax = 32
	keyMax     = 256
	valueMax   = 256
	longMember = 128 // the first to be dropped where there is too much
)

// parentLen is the length of a traceparent of version 00.
const parentLen = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

// ID names a trace.
type ID [16]byte

// SpanID names a span of a trace.
type SpanID [8]byte

// String is the ID in hex.
func (i ID) String() string { return hex.EncodeToString(i[:]) }

// String is the ID in hex.
func (s SpanID) String() string { return hex.EncodeToString(s[:]) }

// Context is a place in a trace. The zero Context is none.
type Context struct {
	Trace ID
	Span  SpanID
	Flags byte
	State string // what vendors keep with a trace; passed on as it is
}

// Valid says whether it names a place.
func (c Context) Valid() bool { return c.Trace != ID{} && c.Span != SpanID{} }

// Sampled says whether the caller may have recorded its span.
func (c Context) Sampled() bool { return c.Flags&Sampled != 0 }

// Parent is the traceparent, "" of the zero Context.
func (c Context) Parent() string {
	var b [parentLen]byte
	return string(c.AppendParent(b[:0]))
}

// AppendParent adds the traceparent to b, and nothing of the zero Context.
func (c Context) AppendParent(b []byte) []byte {
	if !c.Valid() {
		return b
	}
	b = append(hex.AppendEncode(append(b, "00-"...), c.Trace[:]), '-')
	b = append(hex.AppendEncode(b, c.Span[:]), '-')
	const digits = "0123456789abcdef"
	return append(b, digits[c.Flags>>4], digits[c.Flags&0xf])
}

// Parse reads a traceparent and a tracestate. Two empty texts are the zero Context. It returns fault.Invalid for a parent that names no place;
// a state that cannot be understood is left out.
func Parse(parent, state string) (Context, error) {
	parent = strings.Trim(parent, " \t")
	if parent == "" {
		return Context{}, nil
	}
	var c Context
	var version, flags [1]byte
	ok := len(parent) >= parentLen && parent[2] == '-' && parent[35] == '-' && parent[52] == '-' &&
		unhex(version[:], parent[:2]) && unhex(c.Trace[:], parent[3:35]) && unhex(c.Span[:], parent[36:52]) && unhex(flags[:], parent[53:55])
	rest := ""
	if ok {
		rest = parent[parentLen:]
	}
	switch {
	case !ok:
		return Context{}, fault.Invalid.New("trace: %.80q is no traceparent; one is 00-TRACE-SPAN-FLAGS of 2, 32, 16 and 2 lower-case hex digits", parent)
	case version[0] == 0xff, version[0] == 0 && rest != "", rest != "" && rest[0] != '-':
		return Context{}, fault.Invalid.New("trace: %.80q is a traceparent of no version that there can be", parent)
	case !c.Valid():
		return Context{}, fault.Invalid.New("trace: %.80q: the IDs of a trace and a span are not all zeros", parent)
	}
	c.Flags = flags[0] & (Sampled | Random)
	c.State = parseState(state)
	return c, nil
}

// unhex reads lower-case hex digits.
func unhex(to []byte, text string) bool {
	if strings.ContainsAny(text, "ABCDEF") {
		return false
	}
	_, err := hex.Decode(to, []byte(text))
	return err == nil
}

// parseState returns a state as it is passed on, and "" for one that is malformed.
func parseState(text string) string {
	var members, keys []string
	for m := range strings.SplitSeq(text, ",") {
		if m = strings.Trim(m, " \t"); m == "" {
			continue
		}
		key, value, ok := strings.Cut(m, "=")
		if !ok || !stateKey(key) || !stateValue(value) || slices.Contains(keys, key) || len(members) == membersMax {
			return ""
		}
		members, keys = append(members, m), append(keys, key)
	}
	if size(members) > stateMax {
		members = slices.DeleteFunc(members, func(m string) bool { return len(m) > longMember })
	}
	for size(members) > stateMax {
		members = members[:len(members)-1]
	}
	return strings.Join(members, ",")
}

func size(members []string) int {
	n := max(len(members)-1, 0)
	for _, m := range members {
		n += len(m)
	}
	return n
}

func stateKey(key string) bool {
	tenant, system, multi := strings.Cut(key, "@")
	if key == "" || len(key) > keyMax || multi && (tenant == "" || system == "") {
		return false
	}
	for i, c := range []byte(tenant + system) {
		letter, digit := c >= 'a' && c <= 'z', c >= '0' && c <= '9'
		if !letter && !digit && (i == 0 || !strings.ContainsRune("_-*/", rune(c))) {
			return false
		}
	}
	return true
}

func stateValue(value string) bool {
	return value != "" && len(value) <= valueMax && !strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' || c == '=' })
}

// ContextKey is the key under which a context.Context has its Context, for those who make contexts of their own.
type ContextKey struct{}

// With returns a context that is at c.
func With(ctx context.Context, c Context) context.Context {
	return context.WithValue(ctx, ContextKey{}, c)
}

// From returns where a context is, and the zero Context for nowhere.
func From(ctx context.Context) Context {
	c, _ := ctx.Value(ContextKey{}).(Context)
	return c
}

// FromHeader reads the headers of a request, as Parse does. Two parents are none.
func FromHeader(h http.Header) (Context, error) {
	parents := h.Values(Parent)
	if len(parents) > 1 {
		return Context{}, fault.Invalid.New("trace: %d headers %s; one names the caller", len(parents), Parent)
	}
	return Parse(h.Get(Parent), strings.Join(h.Values(State), ","))
}

// FromEnviron reads the variables TRACEPARENT and TRACESTATE, as Parse does.
func FromEnviron() (Context, error) {
	return Parse(os.Getenv(strings.ToUpper(Parent)), os.Getenv(strings.ToUpper(State)))
}

// Each gives the names and values that say where it is: none, one or two.
func (c Context) Each(set func(name, value string)) {
	if !c.Valid() {
		return
	}
	set(Parent, c.Parent())
	if c.State != "" {
		set(State, c.State)
	}
}

// SetHeader sets the headers that say where it is.
func (c Context) SetHeader(h http.Header) { c.Each(h.Set) }

// Request returns a request that says where its context is: r itself if that is nowhere, or if somebody said it in r already.
func Request(r *http.Request) *http.Request {
	c := From(r.Context())
	if !c.Valid() || r.Header.Get(Parent) != "" {
		return r
	}
	r = r.Clone(r.Context())
	c.SetHeader(r.Header)
	return r
}

// Transport is an http.RoundTripper whose requests say where their contexts are.
type Transport struct{ Next http.RoundTripper }

// RoundTrip sends Request(r).
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.Next.RoundTrip(Request(r))
}

// CloseIdleConnections makes http.Client's work.
func (t Transport) CloseIdleConnections() {
	if c, ok := t.Next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// Environ returns the variables of a program's environment that say where it is.
func (c Context) Environ() (env []string) {
	c.Each(func(name, value string) { env = append(env, strings.ToUpper(name)+"="+value) })
	return env
}
