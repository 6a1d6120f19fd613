package sandbox

import "bytes"

// limited keeps the first max bytes, drops the rest, and tells once that there was more.
type limited struct {
	buf  bytes.Buffer
	max  int
	full func()
}

func (l *limited) Write(b []byte) (int, error) {
	room := l.max - l.buf.Len()
	if len(b) > room {
		l.buf.Write(b[:max(room, 0)])
		if l.full != nil {
			l.full()
			l.full = nil
		}
		return len(b), nil
	}
	return l.buf.Write(b)
}

// tail keeps the last max bytes.
type tail struct {
	buf []byte
	max int
}

func (t *tail) Write(b []byte) (int, error) {
	n := len(b)
	if n > t.max {
		b = b[n-t.max:]
	}
	t.buf = append(t.buf[max(0, len(t.buf)+len(b)-t.max):], b...)
	return n, nil
}
