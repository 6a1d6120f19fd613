package tool_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/tool"
)

var (
	pay  = tool.Spec{Name: "bank.pay", Version: "1", Effect: polity.EffectExternal}
	find = tool.Spec{Name: "bank.find", Version: "1", Effect: polity.EffectNone, Input: json.RawMessage(`{"type":"object","properties":{"key":{"type":"string"}},"required":["key"],"additionalProperties":false}`)}
	open = tool.Spec{Name: "bank.any", Version: "1", Effect: polity.EffectNone}
)

func TestReconcileCheck(t *testing.T) {
	input := func(text string) json.RawMessage { return json.RawMessage(text) }
	for name, tc := range map[string]struct {
		r      tool.Reconcile
		of, by tool.Spec
		want   string
	}{
		"left out":           {tool.Reconcile{}, pay, find, ""},
		"everything":         {tool.Reconcile{Input: input(`{"key":"{key}"}`), Output: "$.data[0]", Absent: polity.VerdictNotDone, Attempts: 20, Wait: polity.Duration(time.Minute)}, pay, find, ""},
		"input of the call":  {tool.Reconcile{Input: input(`{"ref":"{input.order.id}"}`)}, pay, open, ""},
		"not external":       {tool.Reconcile{}, find, find, "only external effects"},
		"asks what acts":     {tool.Reconcile{}, pay, pay, "may only read"},
		"absent done":        {tool.Reconcile{Absent: polity.VerdictDone}, pay, find, "absent"},
		"no path":            {tool.Reconcile{Output: "data[0]"}, pay, find, "output: path"},
		"too often":          {tool.Reconcile{Attempts: 21}, pay, find, "attempts"},
		"too late":           {tool.Reconcile{Wait: polity.Duration(time.Hour)}, pay, find, "wait"},
		"too slow":           {tool.Reconcile{Every: polity.Duration(time.Hour)}, pay, find, "every"},
		"another field":      {tool.Reconcile{Input: input(`{"key":"{kee}"}`)}, pay, find, "{kee}: want {key}"},
		"refused":            {tool.Reconcile{Input: input(`{"id":"{key}"}`)}, pay, find, "bank.find does not take"},
		"an input too large": {tool.Reconcile{Input: input(`"` + strings.Repeat("x", 17<<10) + `"`)}, pay, open, "the most is"},
	} {
		err := tc.r.Check(tc.of, tc.by)
		if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

func TestQuestion(t *testing.T) {
	c := tool.Call{Key: "0-a#pay", Input: json.RawMessage(`{"sum":7.10,"order":{"id":"o 1"},"none":null}`)}
	since := time.Date(2027, 5, 3, 1, 2, 3, 0, time.UTC)
	for input, tc := range map[string]struct {
		by   tool.Spec
		want string
	}{
		``:  {find, `{"key":"0-a#pay"}`},
		` `: {open, `{"input":{"sum":7.10,"order":{"id":"o 1"},"none":null},"key":"0-a#pay","since":"2027-05-03T01:02:03Z"}`},
		`{"q":"ref:{key} after {since}","sum":"{input.sum}","all":["{input}",1.50]}`: {
			open, `{"all":[{"sum":7.10,"order":{"id":"o 1"},"none":null},1.50],"q":"ref:0-a#pay after 2027-05-03T01:02:03Z","sum":7.10}`},
		`"{input.order.id}/{input.sum}"`: {open, `"o 1/7.10"`},
		`"{input.missing}"`:              {open, ""},
		`"x {input.none}"`:               {open, ""},
	} {
		r := tool.Reconcile{Input: json.RawMessage(strings.TrimSpace(input))}
		got, err := r.Question(tc.by, c, since)
		if string(got) != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s: got %s %v, want %s", input, got, err, tc.want)
		}
	}
}

func TestFinding(t *testing.T) {
	done := func(output string) polity.Finding {
		return polity.Finding{Verdict: polity.VerdictDone, Output: json.RawMessage(output)}
	}
	notDone := polity.Finding{Verdict: polity.VerdictNotDone}
	unknown := polity.Finding{Verdict: polity.VerdictUnknown}
	nothing := polity.Finding{Verdict: polity.VerdictUnknown, Reason: "it finds nothing"}
	absent := polity.Finding{Verdict: polity.VerdictNotDone, Reason: "it finds nothing"}
	at := func(output string, v polity.Verdict) tool.Reconcile { return tool.Reconcile{Output: output, Absent: v} }
	for name, tc := range map[string]struct {
		r      tool.Reconcile
		answer string
		err    error
		want   polity.Finding
		kind   fault.Kind
	}{
		"says done":      {at("", ""), `{"verdict":"done","output":{"id":1},"receipt":"r","by":"me"}`, nil, polity.Finding{Verdict: polity.VerdictDone, Output: json.RawMessage(`{"id":1}`), Receipt: json.RawMessage(`"r"`)}, ""},
		"says not done":  {at("", ""), `{"verdict":"not_done"}`, nil, notDone, ""},
		"says unknown":   {at("", ""), ` {"verdict":"unknown"} `, nil, unknown, ""},
		"says undone":    {at("", ""), `{"verdict":"undone"}`, nil, polity.Finding{}, fault.Invalid},
		"says nothing":   {at("", ""), `{}`, nil, polity.Finding{}, fault.Invalid},
		"another field":  {at("", ""), `{"verdict":"done","result":1}`, nil, polity.Finding{}, fault.Invalid},
		"twice":          {at("", ""), `{"verdict":"done"}{"verdict":"done"}`, nil, polity.Finding{}, fault.Invalid},
		"text":           {at("", ""), `done`, nil, polity.Finding{}, fault.Invalid},
		"not found":      {at("", ""), ``, fault.NotFound.New("404"), nothing, ""},
		"promised":       {at("", polity.VerdictNotDone), ``, fault.NotFound.New("404"), absent, ""},
		"fails":          {at("", polity.VerdictNotDone), ``, fault.Unavailable.New("503"), polity.Finding{}, fault.Unavailable},
		"stands there":   {at("$.data[0]", ""), `{"data":[{"id":1},2]}`, nil, done(`{"id":1}`), ""},
		"the whole":      {at("$", ""), `[1]`, nil, done(`[1]`), ""},
		"empty list":     {at("$.data[0]", ""), `{"data":[]}`, nil, nothing, ""},
		"promised empty": {at("$.data[0]", polity.VerdictNotDone), `{"data":[]}`, nil, absent, ""},
		"null":           {at("$.data", polity.VerdictNotDone), `{"data":null}`, nil, absent, ""},
		"no JSON":        {at("$.data", polity.VerdictNotDone), `{"data":`, nil, polity.Finding{}, fault.Invalid},
	} {
		got, err := tc.r.Finding(json.RawMessage(tc.answer), tc.err)
		if diff := cmp.Diff(tc.want, got); diff != "" || tc.kind == "" && err != nil || tc.kind != "" && !errors.Is(err, tc.kind) {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

// FuzzFinding wants every answer to be a finding that can be kept, or a fault, and never a promise that it does not make.
func FuzzFinding(f *testing.F) {
	for _, answer := range []string{`{"verdict":"done","output":1}`, `{"verdict":"not_done"}`, `{"data":[null]}`, `{"data":[{"id":1}]}`, `[`, ``, `{"verdict":"undone"}`} {
		f.Add(answer, "$.data[0].id")
		f.Add(answer, "")
	}
	f.Fuzz(func(t *testing.T, answer, path string) {
		r := tool.Reconcile{Output: path}
		got, err := r.Finding(json.RawMessage(answer), nil)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("neither a finding nor invalid: %v", err)
			}
			return
		}
		if err := got.Check(); err != nil {
			t.Fatalf("%s: %+v: %v", answer, got, err)
		}
		if got.Verdict == polity.VerdictUndone || got.Verdict == polity.VerdictNotDone && path != "" {
			t.Fatalf("%s: %+v", answer, got)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		r := tool.Reconcile{Wait: polity.Duration(5 * time.Second), Every: polity.Duration(2 * time.Second), Attempts: 3}
		n := 0
		answers := []func() (polity.Finding, error){
			func() (polity.Finding, error) { return polity.Finding{}, fault.Timeout.New("late") },
			func() (polity.Finding, error) { return polity.Finding{Verdict: polity.VerdictUnknown}, nil },
			func() (polity.Finding, error) { return polity.Finding{Verdict: polity.VerdictDone}, nil },
		}
		ask := func(ctx context.Context) (polity.Finding, error) {
			if end, ok := ctx.Deadline(); !ok || time.Until(end) != tool.AskTimeout {
				t.Errorf("a question has until %s", end)
			}
			n++
			return answers[n-1]()
		}
		f, err := r.Asked(t.Context(), ask)
		if err != nil || f.Verdict != polity.VerdictDone || n != 3 || time.Since(began) != 9*time.Second {
			t.Errorf("%+v %v after %d questions and %s", f, err, n, time.Since(began))
		}
		n = 0
		answers[2] = answers[1]
		if f, err = r.Asked(t.Context(), ask); err != nil || f.Verdict != polity.VerdictUnknown || n != 3 {
			t.Errorf("%+v %v after %d questions", f, err, n)
		}
		n = 0
		answers[0] = func() (polity.Finding, error) { return polity.Finding{}, fault.Invalid.New("no such question") }
		if _, err = r.Asked(t.Context(), ask); !errors.Is(err, fault.Invalid) || n != 1 {
			t.Errorf("%v after %d questions", err, n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err = r.Asked(ctx, ask); !errors.Is(err, context.Canceled) || n != 1 {
			t.Errorf("%v after %d questions", err, n)
		}
	})
}

func TestProof(t *testing.T) {
	long := json.RawMessage(`"` + strings.Repeat("x", polity.ReceiptMax) + `"`)
	for name, tc := range map[string]struct {
		receipt      string
		told, output json.RawMessage
		want         string
	}{
		"nothing":         {"", nil, json.RawMessage(`{"id":1}`), ""},
		"told":            {"", json.RawMessage(`{"status":201}`), nil, `{"status":201}`},
		"named":           {"$.a[1].id", nil, json.RawMessage(`{"a":[0,{"id":"x"}]}`), `{"$.a[1].id":"x"}`},
		"both":            {"$.id", json.RawMessage(`{"status":201}`), json.RawMessage(`{"id":1}`), `{"$.id":1,"status":201}`},
		"not there":       {"$.id", json.RawMessage(`{"status":201}`), json.RawMessage(`{"id":null}`), `{"status":201}`},
		"told a text":     {"$.id", json.RawMessage(`"r"`), json.RawMessage(`{"id":1}`), `{"$.id":1,"told":"r"}`},
		"told null":       {"$.id", json.RawMessage(`null`), json.RawMessage(`{"id":1}`), `{"$.id":1}`},
		"told no JSON":    {"", json.RawMessage(`{`), nil, ""},
		"longer than may": {"", long, nil, ""},
	} {
		got := tool.Spec{Receipt: tc.receipt}.Proof(tc.told, tc.output)
		if name == "longer than may" {
			if len(got) > polity.ReceiptMax || !strings.Contains(string(got), `"bytes":2050`) || polity.CheckReceipt(got) != nil {
				t.Errorf("%s: got %s", name, got)
			}
			continue
		}
		if string(got) != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
	for _, receipt := range []string{"$.", "$x", "$.a[", "a b", "a\nb", strings.Repeat("x", 200)} {
		if err := (tool.Spec{Name: "a", Version: "1", Effect: polity.EffectNone, Receipt: receipt}).Check(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", receipt, err)
		}
	}
}
