package archive

import (
	"bytes"
	"context"

	"polity.run"
	"polity.run/internal/run"
)

// Disturb has a store's writing end where step returns an error, as if the process had been killed there, and its files take so many runs.
func (s *Store) Disturb(runsMax int, step func(what string) error) { s.runsMax, s.step = runsMax, step }

// CheckBytes is Check, and Salvage, for a file in memory.
func CheckBytes(data []byte, pinned run.Pinned) (polity.ArchiveCheck, *File, error) {
	f := &File{r: bytes.NewReader(data), size: int64(len(data)), close: func() error { return nil }}
	found, err := f.check(context.Background(), pinned, nil)
	return found, f, err
}

// LoadBytes is Open for a file in memory.
func LoadBytes(data []byte) error {
	f := &File{r: bytes.NewReader(data), size: int64(len(data))}
	return f.load()
}
