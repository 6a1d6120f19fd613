package rest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"polity.run/client"
	"polity.run/fault"
)

// Whatever is sent, it is read as a request, completely, or refused as Invalid.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", `{"agent":"a","input":{"question":"q"},"bounds":{"wall":"1m"}}`, `{"files":{"00":"AA=="}}`,
		`{"release":{"name":"r","main":"a","agents":[{"name":"a","kind":"go","skills":[],"go":{"use":"a","version":"1"}}]}}`,
		`{"id":"0-a/b"} `, `{} {}`, `[`, `{"x":1}`, `{"bounds":{"wall":1}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var q client.Request
		err := read(strings.NewReader(body), &q)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("%q: %v is not Invalid", body, err)
			}
			return
		}
		data, err := json.Marshal(q)
		if err != nil {
			t.Fatalf("%q is read as what cannot be written: %v", body, err)
		}
		var again client.Request
		if err := read(strings.NewReader(string(data)), &again); err != nil {
			t.Fatalf("%q is written as %s, which cannot be read: %v", body, data, err)
		}
	})
}
