package contract_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run/contract"
	"polity.run/fault"
	"polity.run/schema"
)

// closed is the schema of an object that has these integers and requires those.
func closed(has string, requires ...string) json.RawMessage {
	var members []string
	for name := range strings.FieldsSeq(has) {
		members = append(members, fmt.Sprintf(`%q:{"type":"integer"}`, name))
	}
	need, err := json.Marshal(append([]string{}, requires...))
	if err != nil {
		panic(err)
	}
	return json.RawMessage(`{"type":"object","properties":{` + strings.Join(members, ",") + `},"required":` + string(need) + `,"additionalProperties":false}`)
}

func ExampleSubject_Reader() {
	orders := contract.Subject{Name: "orders.placed", Policy: schema.Policy{Mode: schema.Backward}, Versions: []contract.Version{
		{Schema: json.RawMessage(`{"type":"object","properties":{"qty":{"type":"integer"}},"required":["qty"]}`)},
		{
			Schema: json.RawMessage(`{"type":"object","properties":{"quantity":{"type":"integer"}},"required":["quantity"]}`),
			Upcast: schema.Mapping{{Rename: "/qty", To: "quantity"}},
		},
	}}
	reader, err := orders.Reader(schema.Range{From: 1, To: 2})
	if err != nil {
		panic(err)
	}
	for version, data := range []string{1: `{"qty": 2}`, 2: `{"quantity": 3}`, 3: `{"amount": 4}`} {
		if version > 0 {
			out, err := reader.Read(version, json.RawMessage(data))
			fmt.Println(string(out), err)
		}
	}
	// Output:
	// {"quantity":2} <nil>
	// {"quantity": 3} <nil>
	//  orders.placed: version 3 is newer than what is read here, which is 1-2: upgrade the reader first
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"orders.placed": "", "a": "", "skill:critic/review/in": "", "skill:c/r.x/out": "", "signal:order/paid.now": "",
		"signal:order": "want signal:AGENT/SIGNAL", "signal:../paid": "want signal:AGENT/SIGNAL",
		"orders.placed.v2": "leave .v and the number out", "Orders": "want an event type", "a..b": "want an event type", "": "want an event type",
		"skill:critic/review": "want skill:AGENT", "skill:../x/in": "want skill:AGENT", "skill:c/../in": "want skill:AGENT", strings.Repeat("a", 201): "longer than 200",
	} {
		err := contract.CheckName(name)
		if want == "" != (err == nil) || err != nil && (!errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", name, err, want)
		}
	}
	for text, want := range map[string]string{
		"orders.placed.v12": "orders.placed 12 <nil>", "orders.placed": "orders.placed 0 <nil>", "skill:a/b/in.v1": "skill:a/b/in 1 <nil>",
	} {
		name, version, err := contract.ParseType(text)
		if got := fmt.Sprint(name, " ", version, " ", err); got != want {
			t.Errorf("%s: got %s", text, got)
		}
	}
}

// TestTake reads data as who reads versions 2 and 3 does: older data is refused or upcast, newer is taken as it is if it fits and nothing says that it has to
// be upcast, and what has no version is taken if it fits.
func TestTake(t *testing.T) {
	s := contract.Subject{Name: "orders.placed", Policy: schema.Policy{Mode: schema.Backward, Declared: true}}
	open := func(required string) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"type":"object","properties":{%q:{"type":"integer"},"note":{"type":"string"}},"required":[%q]}`, required, required))
	}
	golden := []json.RawMessage{json.RawMessage(`{"a":1}`)}
	for _, v := range []contract.Version{
		{Schema: json.RawMessage(`{"type":"object","properties":{"old":{"type":"integer"}},"required":["old"]}`), Golden: []json.RawMessage{json.RawMessage(`{"old":1}`)}},
		{Schema: json.RawMessage(`{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}`), Upcast: schema.Mapping{{Rename: "/old", To: "a"}}, Golden: golden},
		{Schema: open("a")},
		{Schema: json.RawMessage(`{"type":"object","properties":{"a":{"type":["integer","string"]},"note":{"type":"string"}},"required":["a"]}`), Golden: golden},
		{Schema: open("b"), Upcast: schema.Mapping{{Rename: "/a", To: "b"}}},
	} {
		next, list, err := s.Add(v)
		if err != nil || len(list) > 0 {
			t.Fatal(list, err)
		}
		s = next
	}
	reads := schema.Range{From: 2, To: 3}
	r, err := s.Reader(reads)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		version    int
		data, want string
	}{
		{1, `{"old":1}`, "version 1 is older than what is read here, which is 2-3"},
		{2, `{"a":1}`, `{"a":1}`},
		{3, `{"b":1}`, "orders.placed.v3: at /: missing property 'a'"},
		{4, `{"a":1,"more":2}`, `{"a":1,"more":2}`},
		{4, `{"a":"1"}`, "orders.placed.v4, which is newer than what is read here (2-3) or unknown, is not valid as orders.placed.v3: at /a"},
		{5, `{"b":1,"a":1}`, "version 5 is newer than what is read here"},
		{9, `{"a":1}`, "version 9 is newer than what is read here"},
		{0, `{"a":1}`, `{"a":1}`},
		{0, `{}`, "data of no version"},
	} {
		out, err := r.Take(tt.version, json.RawMessage(tt.data))
		if got := string(out); err == nil && got != tt.want || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s of version %d: got %s %v, want %s", tt.data, tt.version, got, err, tt.want)
		}
	}
	for version, want := range map[int]string{
		1: "orders.placed.v1 is older than what is read, which is 2-3", 2: "", 3: "", 4: "at /a", 5: "orders.placed.v5 says otherwise what versions before it say",
	} {
		if err := s.Understood(version, reads); want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("version %d: got %v, want %q", version, err, want)
		}
	}
}

// TestGoldenLater adds golden data to a version that was registered without, as one that came with a release.
func TestGoldenLater(t *testing.T) {
	dir := t.TempDir()
	f := contract.OpenFolder(dir)
	q := contract.Registration{Subject: "orders.placed", Version: contract.Version{Schema: closed("a", "a")}}
	if _, err := f.Register(q); err != nil {
		t.Fatal(err)
	}
	q.Version.Golden = []json.RawMessage{json.RawMessage(`{}`)}
	if _, err := f.Register(q); !errors.Is(err, fault.Invalid) {
		t.Errorf("golden data that is of no version: %v", err)
	}
	for i, golden := range []string{`{"a":1}`, `{"a":2}`} { // the second changes nothing
		q.Version.Golden, q.Number = []json.RawMessage{json.RawMessage(golden)}, i
		if _, err := f.Register(q); err != nil {
			t.Fatal(err)
		}
	}
	s, err := f.Subject("orders.placed")
	if err != nil || s.Newest() != 1 || len(s.Versions[0].Golden) != 1 || !strings.Contains(string(s.Versions[0].Golden[0]), `"a": 1`) {
		t.Errorf("%+v %v", s, err)
	}
}

func TestAdd(t *testing.T) {
	golden := func(text ...string) (out []json.RawMessage) {
		for _, one := range text {
			out = append(out, json.RawMessage(one))
		}
		return out
	}
	one := contract.Version{Schema: closed("a b", "a"), Golden: golden(`{"a":1}`, `{"a":1,"b":2}`)}
	upcast := schema.Mapping{{Rename: "/a", To: "c"}}
	for name, tt := range map[string]struct {
		policy schema.Policy
		before []contract.Version
		add    contract.Version
		want   string // of the error or the differences; "" if it becomes one more
	}{
		"the first":             {schema.Policy{Mode: schema.Full}, nil, one, ""},
		"an optional one":       {schema.Policy{Mode: schema.Backward}, []contract.Version{one}, contract.Version{Schema: closed("a b c", "a")}, ""},
		"one for old readers":   {schema.Policy{Mode: schema.Full}, []contract.Version{one}, contract.Version{Schema: closed("a b c", "a")}, "breaks old readers"},
		"a required one":        {schema.Policy{Mode: schema.Backward}, []contract.Version{one}, contract.Version{Schema: closed("a b c", "a", "c")}, "version 1 at /c: the new schema requires it"},
		"upcast":                {schema.Policy{Mode: schema.Backward}, []contract.Version{one}, contract.Version{Schema: closed("b c", "c"), Upcast: upcast}, ""},
		"upcast, not enough":    {schema.Policy{Mode: schema.Backward}, []contract.Version{one}, contract.Version{Schema: closed("c", "c"), Upcast: upcast}, `golden data 2 of version 1: orders.placed.v1, read as version 2: at /: unknown property "b"`},
		"upcast, old readers":   {schema.Policy{Mode: schema.Full}, []contract.Version{one}, contract.Version{Schema: closed("b c", "c"), Upcast: upcast}, "breaks old readers"},
		"upcast of nothing":     {schema.Policy{Mode: schema.Backward}, nil, contract.Version{Schema: closed("c"), Upcast: upcast}, "no version before"},
		"upcast without golden": {schema.Policy{Mode: schema.Backward}, []contract.Version{{Schema: closed("a", "a")}}, contract.Version{Schema: closed("c", "c"), Upcast: upcast}, "version 1 has none"},
		"upcast further back": {
			schema.Policy{Mode: schema.BackwardTransitive},
			[]contract.Version{one, {Schema: closed("b c", "c"), Upcast: upcast, Golden: golden(`{"c":3}`)}}, contract.Version{Schema: closed("b c d", "c")}, "",
		},
		"the last alone":        {schema.Policy{Mode: schema.Backward}, []contract.Version{{Schema: closed("a")}, {Schema: json.RawMessage(`{"type":"string"}`)}}, contract.Version{Schema: json.RawMessage(`{"type":["string","null"]}`)}, ""},
		"all of them":           {schema.Policy{Mode: schema.BackwardTransitive}, []contract.Version{{Schema: closed("a")}, {Schema: json.RawMessage(`{"type":"string"}`)}}, contract.Version{Schema: json.RawMessage(`{"type":["string","null"]}`)}, "version 1 at /: old data may be object"},
		"golden of no value":    {schema.Policy{Mode: schema.Backward}, nil, contract.Version{Schema: closed("a", "a"), Golden: golden(`{}`)}, "golden data 1: at /: missing property 'a'"},
		"no schema":             {schema.Policy{Mode: schema.Backward}, nil, contract.Version{Schema: json.RawMessage(`{"type":"strin"}`)}, "orders.placed.v1: "},
		"no mode":               {schema.Policy{Mode: "forwrd"}, nil, one, `did you mean "forward"?`},
		"a change that is none": {schema.Policy{Mode: schema.Backward}, []contract.Version{one}, contract.Version{Schema: closed("c"), Upcast: schema.Mapping{{}}}, "orders.placed.v2: upcast: mapping: change 1"},
		"any change":            {schema.Policy{Mode: schema.None}, []contract.Version{one}, contract.Version{Schema: json.RawMessage(`{"type":"string"}`)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := contract.Subject{Name: "orders.placed", Policy: tt.policy, Versions: tt.before}
			next, list, err := s.Add(tt.add)
			got := ""
			if err != nil || len(list) > 0 {
				got = fmt.Sprint(err, list)
			}
			if tt.want == "" != (got == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got %s\nwant %q", got, tt.want)
			}
			grown := 0
			if tt.want == "" {
				grown = 1
			}
			if next.Newest() != len(tt.before)+grown || s.Newest() != len(tt.before) {
				t.Errorf("%d versions became %d", s.Newest(), next.Newest())
			}
			if again, list, err := next.Add(tt.add); tt.want == "" && (again.Newest() != next.Newest() || err != nil || len(list) > 0) {
				t.Errorf("added twice: %d versions, %v %v", again.Newest(), list, err)
			}
		})
	}
}

// TestGoldenOfEveryVersion reads what is checked in of each version of an event type as every later one.
func TestGoldenOfEveryVersion(t *testing.T) {
	folder := contract.OpenFolder(filepath.Join("testdata", "schemas"))
	list, err := folder.List()
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, s := range list {
		if found := s.Check(); len(found) > 0 {
			t.Errorf("%s: %+v", s.Name, found)
		}
		for to := 1; to <= s.Newest(); to++ {
			r, err := s.Reader(schema.Range{From: 1, To: to})
			if err != nil {
				t.Fatal(err)
			}
			for from := 1; from <= to; from++ {
				for _, data := range s.Versions[from-1].Golden {
					if _, err := r.Read(from, data); err != nil {
						t.Errorf("%s, version %d as %d: %v", s.Name, from, to, err)
					}
					read++
				}
			}
		}
	}
	if len(list) != 2 || read < 6 {
		t.Errorf("read %d golden data of %d subjects", read, len(list))
	}
	r, err := list[0].Reader(schema.Range{From: 1, To: 3})
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.Read(1, list[0].Versions[0].Golden[0])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"currency":"EUR","customer":{"name":"Ada"},"id":"o-1","lines":[{"quantity":2,"sku":"tea"}]}`, string(out)); diff != "" {
		t.Error(diff)
	}
}

// shelf is a shelf in memory, for a store that a test alone has.
type shelf struct {
	mu       sync.Mutex
	values   map[string][]byte
	at       map[string]uint64
	revision uint64
}

func (s *shelf) Get(_ context.Context, key string) ([]byte, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[key], s.at[key], nil
}

func (s *shelf) Swap(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at[key] != revision {
		return 0, fault.Conflict.New("revision")
	}
	if s.values == nil {
		s.values, s.at = map[string][]byte{}, map[string]uint64{}
	}
	s.revision++
	s.values[key], s.at[key] = value, s.revision
	return s.revision, nil
}

func (s *shelf) Keys(context.Context, string) ([]string, error) {
	var out []string
	for k := range s.values {
		out = append(out, k)
	}
	return out, nil
}

// kept is what a store and a folder have in common.
type kept interface {
	register(q contract.Registration) (*contract.Subject, error)
	subject(name string) (*contract.Subject, error)
	list() ([]contract.Subject, error)
}

type inStore struct{ *contract.Store }

func (s inStore) register(q contract.Registration) (*contract.Subject, error) {
	return s.Register(context.Background(), q)
}
func (s inStore) subject(name string) (*contract.Subject, error) {
	return s.Subject(context.Background(), name)
}
func (s inStore) list() ([]contract.Subject, error) { return s.List(context.Background()) }

type inFolder struct{ *contract.Folder }

func (s inFolder) register(q contract.Registration) (*contract.Subject, error) { return s.Register(q) }
func (s inFolder) subject(name string) (*contract.Subject, error)              { return s.Subject(name) }
func (s inFolder) list() ([]contract.Subject, error)                           { return s.List() }

// TestKept holds the store and the folder to the same behaviour.
func TestKept(t *testing.T) {
	for name, k := range map[string]kept{
		"store": inStore{contract.Open(&shelf{})}, "folder": inFolder{contract.OpenFolder(filepath.Join(t.TempDir(), "schemas"))},
	} {
		t.Run(name, func(t *testing.T) {
			register := func(subject string, raw json.RawMessage, number int, want error, versions int) {
				t.Helper()
				s, err := k.register(contract.Registration{Subject: subject, Version: contract.Version{Schema: raw}, Number: number})
				if want != nil && !errors.Is(err, want) || want == nil && (err != nil || s.Newest() != versions) {
					t.Errorf("%s: got %+v %v, want %v", subject, s, err, want)
				}
			}
			if _, err := k.subject("orders.placed"); !errors.Is(err, fault.NotFound) {
				t.Errorf("got %v", err)
			}
			register("orders.placed", closed("a", "a"), 0, nil, 1)
			register("orders.placed", closed("a", "a"), 0, nil, 1)
			register("orders.placed", closed("a b", "a"), 0, nil, 2)
			register("orders.placed", closed("a", "a"), 1, nil, 2)
			register("orders.placed", closed("b"), 1, fault.Conflict, 0)
			register("orders.placed", closed("a b c"), 4, fault.Conflict, 0)
			register("orders.placed", closed("a b c", "c"), 0, fault.Conflict, 0)
			register("orders.placed", json.RawMessage(`{`), 0, fault.Invalid, 0)
			register("skill:critic/review/in", nil, 0, nil, 1)
			register("../escape", nil, 0, fault.Invalid, 0)
			s, err := k.subject("skill:critic/review/in")
			if err != nil || s.Mode != schema.Full {
				t.Errorf("got %+v %v", s, err)
			}
			list, err := k.list()
			if err != nil || len(list) != 2 {
				t.Errorf("got %+v %v", list, err)
			}
			policy := schema.Policy{Mode: schema.None}
			if s, err := k.register(contract.Registration{Subject: "orders.placed", Policy: &policy, Version: contract.Version{Schema: closed("z")}}); err != nil || s.Newest() != 3 || s.Mode != schema.None {
				t.Errorf("got %+v %v", s, err)
			}
		})
	}
}

// TestFolderIsNotTrusted spoils a folder in one way each.
func TestFolderIsNotTrusted(t *testing.T) {
	for name, tt := range map[string]struct {
		file, content string // "" takes the file away
		want          error
		says          string
	}{
		"another schema":   {"v1.json", `{"type":"string"}`, fault.Conflict, "version 1 is not what was registered"},
		"only other words": {"v1.json", "\n{ \"additionalProperties\" : false, \"required\":[\"a\"],\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}} }", nil, ""},
		"a version gone":   {"v1.json", ``, fault.NotFound, "its file is gone"},
		"a stray version":  {"v2.json", `true`, fault.Invalid, "v2.json is not registered"},
		"no JSON":          {"v1.json", "{\n\"a\":\n}", fault.Invalid, "v1.json:3: "},
		"an unknown field": {"subject.json", `{"subjct":"x"}`, fault.Invalid, `unknown field "subjct"`},
		"another subject":  {"subject.json", `{"subject":"x","mode":"full","digests":[]}`, fault.Invalid, "the folder is that of"},
		"an upcast more":   {"v1.upcast.json", `[{"drop":"/a"}]`, fault.Conflict, "version 1 is not what was registered"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f := contract.OpenFolder(dir)
			if _, err := f.Register(contract.Registration{Subject: "orders.placed", Version: contract.Version{Schema: closed("a", "a")}}); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "orders.placed", tt.file)
			err := os.WriteFile(path, []byte(tt.content), 0o600)
			if tt.content == "" {
				err = os.Remove(path)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, read := range []func() error{
				func() error { _, err := f.Subject("orders.placed"); return err },
				func() error { _, err := f.List(); return err },
			} {
				err := read()
				if tt.want == nil != (err == nil) || err != nil && (!errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says)) {
					t.Errorf("got %v, want %v", err, tt.says)
				}
			}
		})
	}
}

// TestTwoAtOnce has many register versions that do not fit each other, and wants one to win.
func TestTwoAtOnce(t *testing.T) {
	store := contract.Open(&shelf{})
	var group sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 8 {
		group.Go(func() {
			_, err := store.Register(t.Context(), contract.Registration{
				Subject: "orders.placed", Version: contract.Version{Schema: closed(fmt.Sprintf("n%d", i), fmt.Sprintf("n%d", i))},
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, fault.Conflict) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	s, err := store.Subject(t.Context(), "orders.placed")
	if err != nil || won != 1 || s.Newest() != 1 {
		t.Errorf("%d won; %+v %v", won, s, err)
	}
}

// FuzzReadJSON wants errors with a line of what is no file of a folder.
func FuzzReadJSON(f *testing.F) {
	f.Add([]byte(`{"subject":"a","mode":"full","digests":["x"]}`))
	f.Add([]byte("[{\"rename\":\"/a\",\n\"to\":\"b\"}] 1"))
	f.Add([]byte(`{"schema":{},"upcast":[{"drop":"/a"}],"golden":[1]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v contract.Version
		if err := contract.ReadJSON("file", data, &v); err != nil && (!errors.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), "file:")) {
			t.Fatal(err)
		}
	})
}
