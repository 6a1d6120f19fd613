package remote

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"polity.run/fault"
)

// TestSpec reads what the protocol's page shows.
func TestSpec(t *testing.T) {
	page, err := os.ReadFile("../docs/spec/bus.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?ms)^```json\n(.*?)^```$").FindAllSubmatch(page, -1)
	if len(shown) != 2 {
		t.Fatalf("%d examples", len(shown))
	}
	if c, err := ParseCredentials(shown[0][1]); err != nil || c.Agent != "pricer" || c.Org != "shop" || !c.Since.Before(c.Until) {
		t.Errorf("%+v %v", c, err)
	}
	var h Here
	if err := json.Unmarshal(shown[1][1], &h); err != nil || h.State != Serving || len(h.Working) != 1 || h.Instance == "" || h.Version == "" {
		t.Errorf("%+v %v", h, err)
	}
}

func TestCredentialsAreForTheirUser(t *testing.T) {
	c, err := ParseCredentials([]byte(`{"url":"nats://127.0.0.1:1","org":"o","agent":"a","since":"2026-12-24T08:00:00Z","until":"2026-12-24T09:00:00Z","seed":"SU"}`))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.creds")
	if _, err := ReadCredentials(path); !errors.Is(err, fault.NotFound) {
		t.Errorf("none: %v", err)
	}
	if err := c.Write(path); err != nil {
		t.Fatal(err)
	}
	if back, err := ReadCredentials(path); err != nil || back != c {
		t.Errorf("%+v %v", back, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCredentials(path); !errors.Is(err, fault.Denied) {
		t.Errorf("for a group: %v", err)
	}
	if _, err := ReadCredentials(filepath.Dir(path)); !errors.Is(err, fault.Denied) {
		t.Errorf("a folder: %v", err)
	}
}

func FuzzParseCredentials(f *testing.F) {
	f.Add([]byte(`{"url":"nats://127.0.0.1:1","org":"o","agent":"a","since":"2026-12-24T08:00:00Z","until":"2026-12-24T09:00:00Z","seed":"SU"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseCredentials(data)
		if err == nil && (c.URL == "" || c.Seed == "" || c.Agent.Check() != nil) {
			t.Errorf("accepted %+v", c)
		}
		if err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("%v", err)
		}
	})
}
