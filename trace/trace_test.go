package trace_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"polity.run/fault"
	"polity.run/trace"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// A program that has a place in a trace from another library hands it on in the headers that every library reads and writes.
func Example() {
	h := http.Header{}
	h.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") // as propagation.TraceContext{}.Inject does
	c, err := trace.FromHeader(h)
	if err != nil {
		fmt.Println(err) // it is no reason to stop
	}
	ctx := trace.With(context.Background(), c) // for engine.Run, or client.Start
	fmt.Println(trace.From(ctx).Trace, trace.From(ctx).Sampled())
	// Output: 0af7651916cd43dd8448eb211c80319c true
}

func TestParse(t *testing.T) {
	long := "a=" + strings.Repeat("x", 200)
	many := make([]string, 33)
	for i := range many {
		many[i] = fmt.Sprintf("k%d=v", i)
	}
	for name, c := range map[string]struct {
		parent, state string
		want, kept    string // "" for refused, or left out
	}{
		"plain":               {parent, "a=b", parent, "a=b"},
		"not sampled":         {parent[:54] + "0", "", parent[:54] + "0", ""},
		"flags not known":     {parent[:53] + "fd", "", parent, ""},
		"random":              {parent[:53] + "03", "", parent[:53] + "03", ""},
		"spaces":              {" " + parent + "\t", " a=b , c=d,, ", parent, "a=b,c=d"},
		"newer version":       {"01" + parent[2:] + "-more", "", parent, ""},
		"newer, same length":  {"cc" + parent[2:], "", parent, ""},
		"newer, no dash":      {"01" + parent[2:] + "more", "", "", ""},
		"version 00 is fixed": {parent + "-more", "", "", ""},
		"version ff":          {"ff" + parent[2:], "", "", ""},
		"capitals":            {strings.ToUpper(parent), "", "", ""},
		"short":               {parent[:54], "", "", ""},
		"no trace":            {"00-" + strings.Repeat("0", 32) + parent[35:], "", "", ""},
		"no span":             {parent[:36] + strings.Repeat("0", 16) + "-01", "", "", ""},
		"no hex":              {"00-zz" + parent[5:], "", "", ""},
		"dashes":              {strings.ReplaceAll(parent, "-", "_"), "", "", ""},
		"state: tenant":       {parent, "t61@rojo=00f067aa0ba902b7", parent, "t61@rojo=00f067aa0ba902b7"},
		"state: no value":     {parent, "a=", parent, ""},
		"state: no member":    {parent, "a", parent, ""},
		"state: capital":      {parent, "A=b", parent, ""},
		"state: twice":        {parent, "a=b,a=c", parent, ""},
		"state: control":      {parent, "a=\x01", parent, ""},
		"state: no system":    {parent, "a@=b", parent, ""},
		"state: 33":           {parent, strings.Join(many, ","), parent, ""},
		"state: too long":     {parent, long + ",b=" + strings.Repeat("y", 99) + ",c" + long + ",d=1", parent, long + ",b=" + strings.Repeat("y", 99) + ",c" + long + ",d=1"},
		"state: far too long": {parent, long + ",b" + long + ",c" + long + ",d=1", parent, "d=1"},
	} {
		got, err := trace.Parse(c.parent, c.state)
		if got.Parent() != c.want || got.State != c.kept || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q with %q, %v", name, got.Parent(), got.State, err)
		}
		if err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c, err := trace.Parse("", "a=b"); c != (trace.Context{}) || err != nil {
		t.Errorf("no parent: %+v %v", c, err)
	}
}

func TestHeader(t *testing.T) {
	h := http.Header{"Traceparent": {parent}, "Tracestate": {"a=b", "c=d"}}
	c, err := trace.FromHeader(h)
	if err != nil || c.State != "a=b,c=d" {
		t.Fatalf("%+v %v", c, err)
	}
	out := http.Header{}
	c.SetHeader(out)
	if out.Get("Traceparent") != parent || out.Get("tracestate") != "a=b,c=d" {
		t.Error(out)
	}
	h.Add("traceparent", parent)
	if c, err := trace.FromHeader(h); c.Valid() || !errors.Is(err, fault.Invalid) {
		t.Errorf("two parents: %+v %v", c, err)
	}
	t.Setenv("TRACEPARENT", parent)
	t.Setenv("TRACESTATE", "a=b")
	c, err = trace.FromEnviron()
	if err != nil || !slices.Equal(c.Environ(), []string{"TRACEPARENT=" + parent, "TRACESTATE=a=b"}) {
		t.Errorf("%v %v", c.Environ(), err)
	}
	if (trace.Context{}).Environ() != nil {
		t.Error("nowhere has an environment")
	}
}

// FuzzParse wants what is taken to be written so that it is taken again, as the same.
func FuzzParse(f *testing.F) {
	f.Add(parent, "a=b,t@s=1")
	f.Add("01"+parent[2:]+"-x", ",,")
	f.Fuzz(func(t *testing.T, p, s string) {
		c, err := trace.Parse(p, s)
		if err != nil {
			if c != (trace.Context{}) {
				t.Fatalf("refused, and %+v", c)
			}
			return
		}
		again, err := trace.Parse(c.Parent(), c.State)
		if err != nil || again != c {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
	})
}
