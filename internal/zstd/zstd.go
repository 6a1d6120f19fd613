// Package zstd compresses what is kept in files.
//
// It exists so that backups and archives compress alike, with one bound for what reading may take: a file from elsewhere must not fill the
// memory.
package zstd

import (
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"

	"polity.run/fault"
)

// memoryMax is how many bytes reading may take for itself, whatever a file says it needs.
const memoryMax = 256 << 20

// NewWriter returns a writer that compresses into w, in the calling goroutine. Close it; w stays open.
func NewWriter(w io.Writer) (io.WriteCloser, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fault.Internal.New("zstd: %w", err)
	}
	return z, nil
}

// NewReader returns a reader of what was compressed. What is not compressed, or damaged, is an error of the first Read that comes upon it: see IsForeign.
func NewReader(r io.Reader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(memoryMax))
	if err != nil {
		return nil, fault.Internal.New("zstd: %w", err)
	}
	return z.IOReadCloser(), nil
}

// IsForeign says that an error of reading means that nothing of it was ever compressed.
func IsForeign(err error) bool { return errors.Is(err, zstd.ErrMagicMismatch) }
