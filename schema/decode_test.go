package schema

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

// FuzzDecode holds decode to what the standard library reads.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"n":1}`, ` [ 1 , -2.5e+3 , "a\"\\b\u00e9" , true,false,null,{},[] ] `, `{"a":{"a":[{}]},"a":2}`,
		"\"\xff\xfe\"", `"\ud800"`, `""`, `1 2`, `[1,]`, `{"a"}`, ``, `tru`, `-`, "\"a\nb\"", `{"":""}`, `0`, `[,]`, `{"a":1,}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if new(scan).read(data) != nil {
			return
		}
		want, wantErr := validator.UnmarshalJSON(bytes.NewReader(data))
		got, err := decode(data)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: got error %v, want %v", data, err, wantErr)
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", data, diff)
		}
	})
}

// TestScanNeverCountsTooFewValues compares the scan's counts with the values that are there.
func TestScanNeverCountsTooFewValues(t *testing.T) {
	for _, data := range []string{`1`, `[]`, `[1,2,[3,4],{"a":5,"b":[6]}]`, `{"a":{"b":{"c":[1,2,3]}}}`, `[[],[],[[]]]`} {
		v, err := decode([]byte(data))
		if err != nil {
			t.Fatal(err)
		}
		var s scan
		if err := s.read([]byte(data)); err != nil {
			t.Fatal(err)
		}
		var have [DepthMax + 2]int
		count(v, 0, &have)
		for depth, n := range have {
			if s.nodes[depth] < n {
				t.Errorf("%s: counted %d values at depth %d, there are %d", data, s.nodes[depth], depth, n)
			}
		}
	}
}

func count(v any, depth int, have *[DepthMax + 2]int) {
	have[depth]++
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			count(one, depth+1, have)
		}
	case map[string]any:
		for _, one := range v {
			count(one, depth+1, have)
		}
	}
}

func TestCostCountsWhatReferencesMultiply(t *testing.T) {
	tests := map[string]struct {
		schema string
		want   []float64
	}{
		"one":        {`{"type":"integer"}`, []float64{1}},
		"members":    {`{"properties":{"a":{},"b":{"items":{"type":"null"}}}}`, []float64{1, 1, 1}},
		"both apply": {`{"properties":{"a":{"type":"null"}},"patternProperties":{"^a":{"type":"null"}}}`, []float64{2, 2}},
		"doubled":    {`{"allOf":[{"items":{"type":"null"}},{"items":{"type":"null"}}]}`, []float64{3, 2}},
		"required":   {`{"required":["a","b"]}`, []float64{3}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := Compile(json.RawMessage(tt.schema))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, s.cost); diff != "" {
				t.Error(diff)
			}
		})
	}
}
