package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/run"
)

// packed makes a file out of entries: names and contents in turn.
func packed(t testing.TB, entries ...string) []byte {
	var b bytes.Buffer
	zip, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(zip)
	for i := 0; i+1 < len(entries); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: entries[i], Mode: 0o600, Size: int64(len(entries[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(entries[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var noFiles = Names{
	Release: func([]byte) ([]run.Digest, error) { return nil, nil },
	Record:  func(string, []byte) (run.Digest, error) { return run.Digest{}, nil },
}

// TestStrangeBackups wants of files that nobody wrote a word about what is wrong with them.
func TestStrangeBackups(t *testing.T) {
	format := string(formatText(polity.BackupVersion))
	for name, tc := range map[string]struct {
		file []byte
		want fault.Kind
	}{
		"nothing":                     {nil, fault.Invalid},
		"text":                        {[]byte("hello"), fault.Invalid},
		"another tar":                 {packed(t, "a", "b"), fault.Invalid},
		"a later version":             {packed(t, "format", "polity backup 4\n"), fault.Invalid},
		"a beginning of no log":       {packed(t, "format", "polity backup 3\n", "begins", "1\n"), fault.Damaged},
		"no end":                      {packed(t, "format", format), fault.Damaged},
		"a commit that is none":       {packed(t, "format", format, "log/00000001", "\x00\x00\x00\x01x"), fault.Damaged},
		"a chunk that is cut":         {packed(t, "format", format, "log/00000001", "\x00\x00\x00\x09x"), fault.Damaged},
		"a chunk too late":            {packed(t, "format", format, "log/00000002", ""), fault.Damaged},
		"a way out":                   {packed(t, "format", format, "watch/../../x", "x"), fault.Damaged},
		"a key without a value":       {packed(t, "format", format, "BUCKET_memory/00000001", "\x00\x00\x00\x01x"), fault.Damaged},
		"an event stream that is cut": {packed(t, "format", format, "TOPICS/00000001", "\x00\x00\x00\x09x"), fault.Damaged},
		"events of a stream":          {packed(t, "format", format, "OTHER/00000001", "\x00\x00\x00\x01x"), fault.Damaged},
		"dead letters before events":  {packed(t, "format", format, "DEAD/00000001", "\x00\x00\x00\x01x", "TOPICS/00000001", "\x00\x00\x00\x01x"), fault.Damaged},
		"an end that lies":            {packed(t, "format", format, "backup.json", `{"format":"polity backup","version":2,"runs":3}`), fault.Damaged},
		"an end that is none":         {packed(t, "format", format, "backup.json", `{`), fault.Damaged},
	} {
		_, err := Verify(context.Background(), bytes.NewReader(tc.file), noFiles, nil)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}

// FuzzVerify gives the reader entries of any kind: it comes to an end, and says of what it refuses why.
func FuzzVerify(f *testing.F) {
	f.Add("log/00000001", "\x00\x00\x00\x01x", "watch/a")
	f.Add("documents/00", "{}", "backup.json")
	f.Add("TOPICS/00000001", "\x00\x00\x00\x01k\x00\x00\x00\x00", "DEAD/00000001")
	f.Add("BUCKET_m/00000001", "\x00\x00\x00\x01k\x00\x00\x00\x00", "BUCKET_n/00000001")
	f.Fuzz(func(t *testing.T, name, data, other string) {
		if name == "" || other == "" || len(name) > 100 || len(other) > 100 {
			return
		}
		for _, n := range []string{name, other} {
			if bytes.ContainsRune([]byte(n), 0) || strings.HasSuffix(n, "/") {
				return // no tar has it
			}
		}
		_, err := Verify(context.Background(), bytes.NewReader(packed(t, "format", string(formatText(polity.BackupVersion)), name, data, other, data)), noFiles, nil)
		if !errors.Is(err, fault.Damaged) && !errors.Is(err, fault.Invalid) {
			t.Errorf("%v", err)
		}
	})
}
