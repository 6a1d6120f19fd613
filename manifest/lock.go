package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"polity.run/fault"
	"polity.run/tool"
)

// LockName is the file beside a manifest that holds the tools of MCP servers as somebody accepted them. It belongs into version control.
const LockName = "polity.tools.json"

const (
	lockVersion = 1
	lockMax     = 16 << 20 // bytes
)

// Lock is what is accepted of MCP servers, by the name of the source.
type Lock struct {
	Version int                 `json:"version"`
	Sources map[string]Accepted `json:"sources"`
}

// Accepted are the tools of one server.
type Accepted struct {
	From  string      `json:"from"` // what declared the server then: its digest
	Tools []tool.Spec `json:"tools"`
}

// From is the digest of what declares a source.
func From(s tool.Source) string {
	s.Specs, s.Reconcile = nil, nil // how calls are asked about changes nothing of what was accepted
	data, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// ReadLock reads the lock beside the manifest at path. There being none is an empty lock. It returns fault.Invalid for what is none.
func ReadLock(path string) (*Lock, error) {
	name := filepath.Join(filepath.Dir(path), LockName)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return &Lock{Version: lockVersion, Sources: map[string]Accepted{}}, nil
	}
	if err != nil {
		return nil, fault.Denied.New("lock: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, lockMax+1))
	if err != nil {
		return nil, fault.Unavailable.New("lock: %w", err)
	}
	l, err := parseLock(data)
	if err != nil {
		return nil, fault.Invalid.New("%s: %w; make it anew with: polity tools accept", name, err)
	}
	return l, nil
}

func parseLock(data []byte) (*Lock, error) {
	if len(data) > lockMax {
		return nil, fault.Invalid.New("more than %d bytes", lockMax)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var l Lock
	if err := d.Decode(&l); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	if l.Version != lockVersion {
		return nil, fault.Invalid.New("version %d; this program knows %d", l.Version, lockVersion)
	}
	for _, a := range l.Sources {
		for _, s := range a.Tools {
			if err := s.Check(); err != nil {
				return nil, err
			}
		}
	}
	if l.Sources == nil {
		l.Sources = map[string]Accepted{}
	}
	return &l, nil
}

// Write writes the lock beside the manifest at path, all or nothing.
func (l *Lock) Write(path string) (err error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(l); err != nil {
		return fault.Invalid.New("lock: %w", err)
	}
	name := filepath.Join(filepath.Dir(path), LockName)
	f, err := os.CreateTemp(filepath.Dir(name), LockName+".*")
	if err != nil {
		return fault.Denied.New("lock: %w", err)
	}
	_, err = f.Write(b.Bytes())
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fault.Denied.New("lock: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// Servers returns the MCP servers that the manifest at path declares, with nothing of them pinned, and the manifest's file. Other mistakes of
// the manifest do not matter here. Errors are as Load's.
func Servers(path string) (string, []tool.Source, error) {
	path, data, err := open(path)
	if err != nil {
		return "", nil, err
	}
	log := newLog(path, plainLines(data))
	f, at := read(plainLines(data), log)
	if f == nil {
		return "", nil, log.problems()
	}
	b := &builder{log: log, at: at, file: f, servers: true}
	var out []tool.Source
	for name, s := range f.Tools {
		if s.MCP != nil {
			out = append(out, *b.server(string(name), "tools"+keyPath(string(name)), &s))
		}
	}
	return path, out, nil
}
