package bus

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"polity.run/fault"
)

const (
	wireBuffer   = 32 << 10  // bytes that are read at once; a line of the protocol is shorter
	wireKeep     = 512 << 10 // bytes of a buffer that is used again
	wireLetter   = 64 << 20  // bytes of one message; no server takes more
	wireMax      = 128 << 10 // bytes that wait to be written; then whoever puts waits
	crlf         = "\r\n"
	headerLine   = "NATS/1.0"
	statusHeader = "Status" // that stands in the first line, as client libraries name it
)

// wire is the client's side of NATS's protocol on one connection: docs.nats.io/reference/reference-protocols/nats-protocol. Whoever puts something writes it, with
// what others put meanwhile, unless somebody writes already.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
	kick chan struct{} // has room for the one kick that there is while writing is true

	mu      sync.Mutex
	room    sync.Cond // of mu: less waits to be written
	out     []byte    // waits to be written
	spare   []byte    // that was written
	writing bool
	gone    bool
}

// greet says hello on a new connection, and returns when the server has taken it.
func greet(conn net.Conn, hello []byte) (*wire, error) {
	w := &wire{conn: conn, in: bufio.NewReaderSize(conn, wireBuffer), kick: make(chan struct{}, 1)}
	w.room.L = &w.mu
	go w.flush()
	err := conn.SetDeadline(time.Now().Add(deskWait))
	if err == nil {
		_, err = w.in.ReadSlice('\n') // INFO, of a server of this process
	}
	if err == nil {
		_, err = conn.Write(append(hello, "PING\r\n"...))
	}
	for err == nil {
		var line []byte
		if line, err = w.in.ReadSlice('\n'); err != nil {
			break
		}
		if bytes.HasPrefix(line, []byte("-ERR")) {
			err = errors.New(string(bytes.TrimSpace(line)))
		} else if bytes.HasPrefix(line, []byte("PING")) {
			w.say("PONG\r\n")
		} else if bytes.HasPrefix(line, []byte("PONG")) {
			return w, conn.SetDeadline(time.Time{})
		}
	}
	w.close()
	return nil, err
}

// close ends the connection.
func (w *wire) close() {
	_ = w.conn.Close() // of memory
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gone {
		w.gone = true
		close(w.kick)
	}
	w.room.Broadcast()
}

// put writes a message, or has it written.
func (w *wire) put(p *Parcel) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.out) > wireMax && !w.gone {
		w.room.Wait()
	}
	if w.gone {
		return fault.Unavailable.New("bus: put on %s: the desk is cut", p.Subject)
	}
	out, err := appendPub(w.out, p)
	if err != nil {
		return err
	}
	w.out = out
	if w.writing {
		return nil
	}
	w.writing = true
	err = w.write()
	w.more()
	if err != nil {
		return fault.Unavailable.New("bus: put on %s: %w", p.Subject, err)
	}
	return nil
}

// say has a line written, by another goroutine: whoever reads does not wait.
func (w *wire) say(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = append(w.out, line...)
	if !w.writing && !w.gone {
		w.writing = true
		w.kick <- struct{}{}
	}
}

// write writes what waits. w.mu is held, but not meanwhile; w.writing is true.
func (w *wire) write() error {
	b := w.out
	w.out, w.spare = w.spare[:0], nil
	w.mu.Unlock()
	_, err := w.conn.Write(b)
	w.mu.Lock()
	if cap(b) <= wireKeep {
		w.spare = b
	}
	w.room.Broadcast()
	if err != nil {
		_ = w.conn.Close() // whoever reads finds that out
	}
	return err
}

// more leaves what waits to flush, so that nobody writes for others for long. w.mu is held.
func (w *wire) more() {
	if len(w.out) == 0 || w.gone {
		w.writing = false
		return
	}
	w.kick <- struct{}{}
}

// flush writes what others left, until the connection ends.
func (w *wire) flush() {
	for range w.kick {
		w.mu.Lock()
		var err error
		for len(w.out) > 0 && err == nil {
			err = w.write()
		}
		w.writing = false
		w.mu.Unlock()
	}
}

// read gives what the server delivers to a function, until the connection ends.
func (w *wire) read(each func(sid int, p Parcel)) {
	for {
		line, err := w.in.ReadSlice('\n')
		if err != nil {
			return
		}
		switch verb, args, _ := bytes.Cut(bytes.TrimRight(line, crlf), []byte(" ")); string(verb) {
		case "MSG", "HMSG":
			sid, p, err := w.message(args, len(verb) == len("HMSG"))
			if err != nil {
				return
			}
			each(sid, p)
		case "PING":
			w.say("PONG\r\n")
		}
	}
}

// message reads a message after its verb: SUBJECT SID [REPLY] [HEADER-BYTES] BYTES.
func (w *wire) message(args []byte, headed bool) (sid int, p Parcel, err error) {
	var words [5][]byte
	n := 0
	for word := range bytes.FieldsSeq(args) {
		if n == len(words) {
			return 0, p, errWire
		}
		words[n] = word
		n++
	}
	least := 3
	if headed {
		least++
	}
	if n != least && n != least+1 {
		return 0, p, errWire
	}
	p.Subject = string(words[0])
	if n > least {
		p.Reply = string(words[2])
	}
	sid, err = strconv.Atoi(string(words[1]))
	size, head := 0, 0
	if err == nil {
		size, err = strconv.Atoi(string(words[n-1]))
	}
	if err == nil && headed {
		head, err = strconv.Atoi(string(words[n-2]))
	}
	if err != nil || head < 0 || head > size || size > wireLetter {
		return 0, p, errWire
	}
	body := make([]byte, size)
	if _, err = io.ReadFull(w.in, body); err == nil {
		_, err = w.in.Discard(len(crlf))
	}
	if err != nil {
		return 0, p, err
	}
	if headed {
		p.Header = parseHeader(string(body[:head]))
	}
	p.Data = body[head:]
	return sid, p, nil
}

var errWire = errors.New("bus: what the server says is not its protocol")

// parseHeader reads headers, names as they are written. What is none is passed over.
func parseHeader(text string) map[string][]string {
	h := map[string][]string{}
	first, rest, _ := strings.Cut(text, "\n")
	if status := strings.TrimSpace(strings.TrimPrefix(first, headerLine)); len(status) >= 3 {
		h[statusHeader] = []string{status[:3]}
	}
	for line := range strings.SplitSeq(rest, "\n") {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
		if ok && name != "" {
			h[name] = append(h[name], strings.TrimLeft(value, " \t"))
		}
	}
	return h
}

// --- what is written

func appendSub(b []byte, subject string, sid int) []byte {
	b = append(append(append(b, "SUB "...), subject...), ' ')
	return append(strconv.AppendInt(b, int64(sid), 10), crlf...)
}

// appendPub appends a message: PUB SUBJECT [REPLY] BYTES, or HPUB with headers.
func appendPub(b []byte, p *Parcel) ([]byte, error) {
	if p.Subject == "" || strings.ContainsAny(p.Subject, " \t\r\n") || strings.ContainsAny(p.Reply, " \t\r\n") {
		return nil, fault.Invalid.New("bus: put on %.80q, with replies to %.80q: these are no subjects", p.Subject, p.Reply)
	}
	head := len(p.Lines)
	for name, values := range p.Header {
		for _, v := range values {
			if name == "" || strings.ContainsAny(name, ": \t\r\n") || strings.ContainsAny(v, "\r\n") {
				return nil, fault.Invalid.New("bus: put on %.80q: header %.80q: %.80q: a line ends in it", p.Subject, name, v)
			}
			head += len(name) + len(v) + len(": \r\n")
		}
	}
	verb := "PUB "
	if head > 0 {
		verb, head = "HPUB ", head+len(headerLine)+2*len(crlf)
	}
	if head+len(p.Data) > LetterMax {
		return nil, fault.Invalid.New("bus: put on %.80q: %d bytes with headers; the most is %d", p.Subject, head+len(p.Data), LetterMax)
	}
	b = append(append(append(b, verb...), p.Subject...), ' ')
	if p.Reply != "" {
		b = append(append(b, p.Reply...), ' ')
	}
	if head > 0 {
		b = append(strconv.AppendInt(b, int64(head), 10), ' ')
	}
	b = append(strconv.AppendInt(b, int64(head+len(p.Data)), 10), crlf...)
	if head > 0 {
		b = append(append(b, headerLine...), crlf...)
		for name, values := range p.Header {
			for _, v := range values {
				b = append(append(append(append(b, name...), ": "...), v...), crlf...)
			}
		}
		b = append(append(b, p.Lines...), crlf...)
	}
	return append(append(b, p.Data...), crlf...), nil
}
