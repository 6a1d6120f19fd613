package bus

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"polity.run/fault"
)

// Mend makes a store in a folder out of the sound records of some streams of another, whose files it only reads: a server drops the rest of a block from the first
// damage on, and these are all that are sound. Nobody may serve the other store. The positions are what they were.
func Mend(ctx context.Context, from, to string, streams []string) error {
	for _, stream := range streams {
		if err := mend(ctx, filepath.Join(from, streamsPath, stream), filepath.Join(to, streamsPath, stream), stream); err != nil {
			return err
		}
	}
	return nil
}

// mend copies a stream. What the server can make of the blocks is left out: it may say that there is what is not.
func mend(ctx context.Context, from, to, stream string) error {
	return unmended(filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		there := filepath.Join(to, rel)
		block, isBlock := strings.CutSuffix(e.Name(), ".blk")
		switch {
		case e.IsDir():
			return os.MkdirAll(there, 0o700)
		case filepath.Dir(rel) != "msgs":
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(there, data, 0o600)
		case !isBlock:
			return nil
		}
		index, err := strconv.Atoi(block)
		if err != nil {
			return nil // the server's own, and none of its blocks
		}
		return mendBlock(ctx, filepath.Dir(path), there, stream, index)
	}))
}

func mendBlock(ctx context.Context, folder, to, stream string, index int) (err error) {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	var before [recordTimed]byte // of the message before: position and time
	s, err := newScanner(folder, stream, index, nil)
	if err != nil {
		return err
	}
	s.keep = func(raw []byte) error {
		if le.Uint64(raw[4:])&tombstoneBit == 0 {
			copy(before[:], raw[4:])
		}
		_, err := w.Write(raw)
		return err
	}
	s.each = func(r Record) error {
		if r.Damage == nil || r.Size == 0 {
			return nil
		}
		// One that was erased keeps its position, also at the end: what comes later has a later one.
		le.PutUint64(before[:], le.Uint64(before[:])&^uint64(erasedBit)+1|erasedBit)
		_, err := w.Write(s.empty(before))
		return err
	}
	return errors.Join(s.block(ctx), w.Flush())
}

const recordTimed = 8 + 8

var le = binary.LittleEndian

// empty is a record of nothing but a position and a time.
func (s *scanner) empty(at [recordTimed]byte) []byte {
	raw := le.AppendUint32(nil, recordHead+recordSum)
	raw = append(append(raw, at[:]...), 0, 0)
	s.sum.Reset()
	_, _ = s.sum.Write(at[:]) // a hash takes everything
	return s.sum.Sum(raw)
}

// unmended is why a store could not be mended.
func unmended(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC):
		return fault.Full.New("bus: mend: %w", err)
	case fault.Of(err).Kind != fault.Internal:
		return err
	default:
		return fault.Unavailable.New("bus: mend: %w", err)
	}
}
