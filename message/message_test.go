package message_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/message"
	"polity.run/schema"
)

// full is an envelope in which every field is set.
func full() message.Envelope {
	return message.Envelope{
		ID: "m-17", From: message.To("scout"), To: []message.Address{message.To("critic"), {Kind: message.Topic, Name: "news.world"}, {Kind: message.All}},
		Type: message.Task, Performative: polity.Request, Skill: "review", Conversation: "c 1", Correlation: "m-16", Causation: "0-abc#send", Reply: true, Live: true,
		Priority: message.Urgent, TTL: 90 * time.Second, Deadline: time.Date(2026, 12, 24, 8, 0, 0, 5, time.UTC), Time: time.Date(2026, 12, 24, 7, 0, 0, 0, time.UTC),
		Hops: 2, Key: "k%1 \"ü\"", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", TraceState: "a=b",
		Subject: "x", DataSchema: "https://example.com/s", DataType: "application/json", Data: []byte(`{"question":"Is it ready?"}`),
		Extensions: []message.Extension{{Name: "zone", Value: "eu"}, {Name: "again", Value: "yes"}},
	}
}

func TestFullTestsEveryField(t *testing.T) {
	v := reflect.ValueOf(full())
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("full has no %s", v.Type().Field(i).Name)
		}
	}
}

func TestRoundTrips(t *testing.T) {
	binary := full()
	binary.DataType, binary.Data = "application/octet-stream", []byte{0, 1, 255}
	bare := full()
	bare.Extensions = []message.Extension{{Name: "b", Value: "true", Bare: true}, {Name: "a", Value: "-5", Bare: true}}
	plain := message.Envelope{ID: "1", From: message.Address{Kind: message.Outside, Name: "ada"}, To: []message.Address{message.To("b")}, Type: message.Notification}
	for name, e := range map[string]message.Envelope{"full": full(), "binary": binary, "bare": bare, "plain": plain} {
		t.Run(name, func(t *testing.T) { roundTrip(t, e.Or()) })
	}
}

func roundTrip(t *testing.T, e message.Envelope) {
	t.Helper()
	doc, err := e.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var back message.Envelope
	if err := json.Unmarshal(doc, &back); err != nil {
		t.Fatalf("%v of %s", err, doc)
	}
	if !reflect.DeepEqual(back, e) {
		t.Errorf("JSON gives back\n%+v\nof\n%+v", back, e)
	}
	header, err := e.Header()
	if err != nil {
		t.Fatal(err)
	}
	back, err = message.Decode(header, e.Data)
	if err != nil {
		t.Fatal(err)
	}
	want := e // headers know neither an order nor that something was bare
	want.Extensions = nil
	for _, name := range []string{"again", "zone", "a", "b"} {
		for _, x := range e.Extensions {
			if x.Name == name {
				want.Extensions = append(want.Extensions, message.Extension{Name: x.Name, Value: x.Value})
			}
		}
	}
	if len(e.Extensions) == len(want.Extensions) && !reflect.DeepEqual(back, want) {
		t.Errorf("headers give back\n%+v\nof\n%+v", back, want)
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*message.Envelope)
		want   string
	}{
		"no id":         {func(e *message.Envelope) { e.ID = "" }, "id: missing"},
		"long id":       {func(e *message.Envelope) { e.ID = strings.Repeat("x", 257) }, "id: 257 bytes; the most is 256"},
		"control":       {func(e *message.Envelope) { e.Conversation = "a\nb" }, "conversation"},
		"no sender":     {func(e *message.Envelope) { e.From = message.Address{} }, "source: missing"},
		"topic speaks":  {func(e *message.Envelope) { e.From = message.Address{Kind: message.Topic, Name: "a"} }, "source"},
		"no recipient":  {func(e *message.Envelope) { e.To = nil }, "recipients: missing"},
		"twice":         {func(e *message.Envelope) { e.To = []message.Address{message.To("a"), message.To("a")} }, "twice"},
		"outside":       {func(e *message.Envelope) { e.To = []message.Address{{Kind: message.Outside, Name: "a"}} }, "has no mailbox"},
		"dots":          {func(e *message.Envelope) { e.To = []message.Address{message.To("a.b")} }, `"." is not allowed`},
		"performative":  {func(e *message.Envelope) { e.Performative = "requst" }, "did you mean request?"},
		"no match":      {func(e *message.Envelope) { e.Type = message.Query }, "request is of type task"},
		"type":          {func(e *message.Envelope) { e.Type, e.Performative = "tsk", "" }, "did you mean task?"},
		"neither":       {func(e *message.Envelope) { e.Type, e.Performative = "", "" }, "neither type nor performative"},
		"cancels what":  {func(e *message.Envelope) { e.Performative, e.Correlation = message.Cancel, "" }, "names the message"},
		"answers what":  {func(e *message.Envelope) { e.Type, e.Performative, e.Correlation = "result", "", "" }, "correlationid: missing"},
		"priority":      {func(e *message.Envelope) { e.Priority = 5 }, "priority 5"},
		"ttl short":     {func(e *message.Envelope) { e.TTL = time.Millisecond }, "whole seconds from 1 to 2592000"},
		"ttl long":      {func(e *message.Envelope) { e.TTL = message.TTLMax + time.Second }, "ttl"},
		"deadline":      {func(e *message.Envelope) { e.Deadline = e.Time.Add(-time.Second) }, "before time"},
		"time":          {func(e *message.Envelope) { e.Time = time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC) }, "out of range"},
		"hops":          {func(e *message.Envelope) { e.Hops = 17 }, "hops 17"},
		"trace":         {func(e *message.Envelope) { e.TraceParent = "00-xyz" }, "traceparent"},
		"state alone":   {func(e *message.Envelope) { e.TraceParent = "" }, "without traceparent"},
		"data":          {func(e *message.Envelope) { e.Data = []byte("hello") }, "data is not JSON"},
		"much data":     {func(e *message.Envelope) { e.Data = make([]byte, message.DataMax+1) }, "the most is 524288"},
		"extension":     {func(e *message.Envelope) { e.Extensions[0].Name = "my-zone" }, `"-" is not allowed`},
		"our extension": {func(e *message.Envelope) { e.Extensions[0].Name = "ttl" }, "it is no extension"},
		"big":           {func(e *message.Envelope) { e.Extensions[0].Value = strings.Repeat("ü", 2000) }, "the most is 8192"},
	} {
		t.Run(name, func(t *testing.T) {
			e := full()
			c.change(&e)
			err := e.Check()
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want %s", err, c.want)
			}
			if _, err := e.Header(); err == nil {
				t.Error("it can be sent")
			}
		})
	}
}

func TestRefusedAsJSON(t *testing.T) {
	const head = `"specversion":"1.0","id":"1","source":"agent:a","type":"run.polity.task","recipients":"b"`
	for in, want := range map[string]string{
		`[]`:                                           "want a JSON object",
		`{` + head + `} {}`:                            "after",
		`{` + head + `,"id":"2"}`:                      "id: it stands there twice",
		`{` + head + `,"ttl":"x"}`:                     "ttl",
		`{` + head + `,"ttl":1.5}`:                     "neither a text",
		`{` + head + `,"skill":5}`:                     "skill 5: want a text",
		`{` + head + `,"skill":""}`:                    "skill: it is empty",
		`{` + head + `,"to":{"a":1}}`:                  "neither a text",
		`{` + head + `,"data_base64":"AA==","data":1}`: "both",
		`{` + head + `,"data":{},"datacontenttype":"image/png"}`: "data_base64",
		`{"id":"1"}`:                     "specversion: missing",
		`{"specversion":"2.0","id":"1"}`: `specversion "2.0"`,
		`{` + strings.Replace(head, "run.polity.task", "com.example.task", 1) + `}`: "want run.polity.task",
		`{` + strings.Replace(head, `"agent:a"`, `"agnt:a"`, 1) + `}`:               "did you mean agent?",
		`{` + head + `,"replyrequired":"ja"}`:                                       "want true or false",
		`{` + head + `,"deadline":"tomorrow"}`:                                      "want a time",
		`{"specversion":"1.0","id":"1","source":"agent:a","type":"run.polity.task"`: "",
		`{` + head + `,"priority":"urgnt"}`:                                         "did you mean urgent?",
		`{"specversion":null,"id":"1","source":"agent:a","type":"run.polity.task"}`: "specversion: missing",
	} {
		var e message.Envelope
		err := json.Unmarshal([]byte(in), &e)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", in, err, want)
		}
	}
}

func TestRefusedAsHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		change func(map[string][]string)
		want   string
	}{
		"twice":       {func(h map[string][]string) { h["ce-id"] = []string{"1", "2"} }, "id: it stands there twice"},
		"two cases":   {func(h map[string][]string) { h["Ce-Id"] = h["ce-id"] }, "id: it stands there twice"},
		"escape":      {func(h map[string][]string) { h["ce-conversation"] = []string{"%f"} }, "a broken escape"},
		"not hex":     {func(h map[string][]string) { h["ce-conversation"] = []string{"%+1"} }, "a broken escape"},
		"escaped":     {func(h map[string][]string) { h["ce-conversation"] = []string{"a%0ab"} }, "control characters"},
		"not UTF-8":   {func(h map[string][]string) { h["ce-conversation"] = []string{"%ff"} }, "not UTF-8"},
		"no source":   {func(h map[string][]string) { delete(h, "ce-source") }, "source: missing"},
		"empty":       {func(h map[string][]string) { h["ce-skill"] = []string{""} }, "skill: it is empty"},
		"large":       {func(h map[string][]string) { h["ce-x"] = []string{strings.Repeat("x", 9000)} }, "more than 8192 bytes"},
		"an odd name": {func(h map[string][]string) { h["ce-a_b"] = []string{"x"} }, `"_" is not allowed`},
	} {
		h, err := full().Header()
		if err != nil {
			t.Fatal(err)
		}
		c.change(h)
		if _, err := message.Decode(h, full().Data); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %s", name, err, c.want)
		}
	}
}

func TestEveryPerformativeHasOneType(t *testing.T) {
	n := 0
	for _, kind := range message.Types() {
		for _, p := range kind.Performatives() {
			n++
			if message.TypeOf(p) != kind {
				t.Errorf("%s is of type %s and of %s", p, kind, message.TypeOf(p))
			}
		}
	}
	if n != len(message.Performatives()) {
		t.Errorf("%d performatives have a type, of %d", n, len(message.Performatives()))
	}
}

func TestExpires(t *testing.T) {
	now := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		e    message.Envelope
		want time.Duration
	}{
		"default":     {message.Envelope{}, time.Hour},
		"sent before": {message.Envelope{Time: now.Add(-time.Minute), TTL: 2 * time.Minute}, time.Minute},
		"future":      {message.Envelope{Time: now.Add(time.Hour), TTL: time.Minute}, time.Minute},
		"deadline":    {message.Envelope{Deadline: now.Add(time.Second)}, time.Second},
	} {
		if got := c.e.Expires(now).Sub(now); got != c.want {
			t.Errorf("%s: %s; want %s", name, got, c.want)
		}
	}
}

// The specification's examples are what the decoders take, and what the schema accepts.
func TestSpecification(t *testing.T) {
	page, err := os.ReadFile("../docs/spec/messages.md")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("../docs/spec/message.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.Compile(raw)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```json\n(.*?)^```$").FindAllSubmatch(page, -1)
	if len(blocks) < 3 {
		t.Fatalf("the page has %d examples", len(blocks))
	}
	for _, b := range blocks {
		var e message.Envelope
		if err := json.Unmarshal(b[1], &e); err != nil {
			t.Errorf("%v of %s", err, b[1])
		}
		if err := s.Check(b[1]); err != nil {
			t.Errorf("the schema refuses an example: %v", err)
		}
	}
	doc, err := full().MarshalJSON()
	if err == nil {
		err = s.Check(doc)
	}
	if err != nil {
		t.Errorf("the schema refuses a message: %v", err)
	}
	headers := regexp.MustCompile("(?ms)^```text\n(.*?)\n\n(.*?)\n```$").FindAllSubmatch(page, -1)
	if len(headers) == 0 {
		t.Fatal("the page has no example of headers")
	}
	for _, b := range headers {
		h := map[string][]string{}
		for line := range strings.Lines(string(b[1])) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
				h[name] = append(h[name], value)
			}
		}
		if _, err := message.Decode(h, b[2]); err != nil {
			t.Errorf("%v of %s", err, b[1])
		}
	}
	for _, limit := range []int{message.DataMax, message.HeaderMax, message.RecipientsMax, message.HopsMax, message.ExtensionsMax} {
		if !strings.Contains(string(page), fmt.Sprint(limit)) && !strings.Contains(string(page), fmt.Sprintf("%d KiB", limit/1024)) {
			t.Errorf("the page does not name the limit %d", limit)
		}
	}
}

func TestSchemaRefusesWhatTheDecoderRefuses(t *testing.T) {
	raw, err := os.ReadFile("../docs/spec/message.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.Compile(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []string{`"ttl":0`, `"priority":5`, `"source":"topic:x"`, `"performative":"beg"`, `"hops":17`, `"type":"task"`, `"my-x":"1"`, `"zone":{}`} {
		doc, err := full().MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(change, ":")
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(doc, &fields); err != nil {
			t.Fatal(err)
		}
		fields[strings.Trim(name, `"`)] = json.RawMessage(strings.TrimPrefix(change, name+":"))
		doc, err = json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		var e message.Envelope
		if json.Unmarshal(doc, &e) == nil {
			t.Errorf("the decoder takes %s", change)
		}
		if s.Check(doc) == nil {
			t.Errorf("the schema takes %s", change)
		}
	}
}

func FuzzJSON(f *testing.F) {
	doc, err := full().MarshalJSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(doc)
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"agent:a","type":"run.polity.task","recipients":"b","x":true}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e message.Envelope
		if e.UnmarshalJSON(raw) == nil {
			roundTrip(t, e)
		}
	})
}

func FuzzHeaders(f *testing.F) {
	h, err := full().Header()
	if err != nil {
		f.Fatal(err)
	}
	var lines strings.Builder
	for name, v := range h {
		lines.WriteString(name + ": " + v[0] + "\n")
	}
	f.Add(lines.String(), full().Data)
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		h := map[string][]string{}
		for line := range strings.Lines(text) {
			if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
				h[name] = append(h[name], value)
			}
		}
		if e, err := message.Decode(h, data); err == nil {
			roundTrip(t, e)
		}
	})
}

func BenchmarkHeader(b *testing.B) {
	e := full()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Header(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	e := full()
	h, err := e.Header()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := message.Decode(h, e.Data); err != nil {
			b.Fatal(err)
		}
	}
}

// TestShortHeader wants what is left out to be what is read.
func TestShortHeader(t *testing.T) {
	plain := message.Envelope{ID: "1", From: message.To("a"), To: []message.Address{message.To("b")}, Type: message.Query, Data: []byte("1")}
	said := plain
	said.Performative, said.Conversation, said.Key, said.Priority, said.TTL, said.DataType, said.Extensions = polity.Subscribe, "c", "k", message.High, time.Minute, "text/plain", []message.Extension{{Name: "x", Value: "y"}}
	for n, e := range map[int]message.Envelope{5: plain, 12: said} {
		long, err := e.Header()
		if err != nil {
			t.Fatal(err)
		}
		short, err := e.ShortHeader()
		if err != nil || len(short) != n {
			t.Fatalf("%d headers: %v %v", len(short), short, err)
		}
		a, err1 := message.Decode(long, e.Data)
		b, err2 := message.Decode(short, e.Data)
		if err1 != nil || err2 != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%+v %+v %v %v", a, b, err1, err2)
		}
	}
}

// BenchmarkLive writes and reads a live question's headers.
func BenchmarkLive(b *testing.B) {
	e := message.Envelope{
		ID: "bench-1000000", From: message.To("street"), To: []message.Address{message.To("outside")}, Type: message.Query, Deadline: time.Now().Add(time.Minute),
	}.Or()
	h, err := e.ShortHeader()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("header", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.ShortHeader(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("checked", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.CheckedHeader()
		}
	})
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := e.Check(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := message.Decode(h, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
