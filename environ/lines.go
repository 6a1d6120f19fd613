package environ

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"polity.run/fault"
)

// LineMax is the most bytes of a line. A longer one is left out, and noted.
const LineMax = 1 << 20

// Lines are the lines of a stream: a JSON object is observed as it is, any other text as {"question": text}, a blank line not at
// all. An observation's ID is a nonce of this Open and the line's number, so that the same text again is another observation.
// The end of the stream is the end of the source.
type Lines struct {
	From io.Reader
	Note func(text string) // is told what is left out, and why; nil for nobody
}

// Open returns the lines as a source. A read that waits cannot be taken back: if Run ends meanwhile, a goroutine keeps what it
// reads for the next Run, and ends with that line or with the stream. Once is Run.
func (l Lines) Open() Source {
	return &lines{
		Lines: l, nonce: rand.Text(), in: bufio.NewReaderSize(l.From, LineMax+1), got: make(chan read, 1),
	}
}

type lines struct {
	Lines
	nonce   string
	in      *bufio.Reader
	got     chan read
	reading bool         // a read is on its way to got
	number  int          // of the last line
	held    *Observation // what emit has not accepted yet
}

// read is what came of reading a line.
type read struct {
	text []byte
	long bool // and so not in text
	err  error
}

func (*lines) Name() string { return "lines" }

func (l *lines) Once(ctx context.Context, emit Emit) error { return l.Run(ctx, emit) }

func (l *lines) Run(ctx context.Context, emit Emit) error {
	for {
		if l.held != nil {
			if err := emit(ctx, *l.held); err != nil {
				return err
			}
			l.held = nil
		}
		r, err := l.next(ctx)
		if err != nil {
			return err
		}
		if err := l.take(r); err != nil {
			return err
		}
		if r.err != nil && l.held == nil {
			return nil
		}
	}
}

// next waits for a line.
func (l *lines) next(ctx context.Context) (read, error) {
	if !l.reading {
		l.reading = true
		go func() { l.got <- l.line() }()
	}
	select {
	case r := <-l.got:
		l.reading = false
		return r, nil
	case <-ctx.Done():
		return read{}, ended(ctx, l.Name())
	}
}

// line reads a line. Of one that is too long it reads the rest, and keeps nothing.
func (l *lines) line() read {
	text, err := l.in.ReadSlice('\n')
	r := read{text: bytes.Clone(text), err: err}
	for errors.Is(err, bufio.ErrBufferFull) {
		r.long, r.text = true, nil
		_, err = l.in.ReadSlice('\n')
		r.err = err
	}
	return r
}

// take holds what a line says.
func (l *lines) take(r read) error {
	if r.err != nil && !errors.Is(r.err, io.EOF) {
		return fault.Unavailable.New("lines: read: %w", r.err)
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(r.text), "\ufffd"))
	if len(r.text) > 0 || r.long {
		l.number++
	}
	switch {
	case r.long && l.Note != nil:
		l.Note("line " + strconv.Itoa(l.number) + " is left out: it is longer than " + strconv.Itoa(LineMax) + " bytes")
	case text != "":
		var input any = map[string]string{"question": text}
		if text[0] == '{' && json.Valid([]byte(text)) {
			input = json.RawMessage(text)
		}
		o, err := observe(l.nonce+" "+strconv.Itoa(l.number), time.Now(), input)
		if err != nil {
			return err
		}
		l.held = &o
	}
	return nil
}
