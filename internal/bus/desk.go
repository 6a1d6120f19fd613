package bus

import (
	"crypto/rand"
	"encoding/json"
	"strings"
	"sync/atomic"
	"time"

	"polity.run/fault"
)

// Parcel is a message that came in or goes out.
type Parcel struct {
	Subject string
	Reply   string
	Header  map[string][]string
	// Lines are headers as they are written, "name: value\r\n" each, after those of Header. They only go out.
	Lines []byte
	Data  []byte
}

// Unreceived says whether a parcel is what the server says when nobody received what was put with its subject for replies.
func Unreceived(p Parcel) bool {
	status := p.Header[statusHeader]
	return len(p.Data) == 0 && len(status) == 1 && status[0] == "503"
}

// Hearing says what a desk does with what it is told.
type Hearing struct {
	Subjects []string     // with wildcards
	Take     func(Parcel) // is given what is published on them, in order and from one goroutine
	// Direct is one more subject, "" for none, and Now is given what is published on it by the goroutine that reads: it must neither wait nor Put.
	Direct string
	Now    func(Parcel)
	Away   func(token string) // is given the token of what was Put and had no receiver
}

// The subscriptions of a desk, by the numbers that the server puts on what it delivers.
const (
	sidAway = iota + 1
	sidDirect
	sidSubjects // and those after it
)

// The limits of a desk.
const (
	deskTake  = 256                   // parcels that wait to be taken; then the server waits, and those who publish with it
	deskAgain = 20 * time.Millisecond // before it connects again
)

// Desk is where those inside meet the guests of one account: it may publish and subscribe to everything there. It goes through memory, and speaks the server's
// protocol itself: a client library passes what comes and goes to one goroutine more, each way, for which a live question would wait. A desk that was cut
// connects again. Its methods are safe for concurrent use.
type Desk struct {
	hear    Hearing
	dial    func() (*wire, error)
	replies string
	taken   chan delivered
	stop    chan struct{}
	wire    atomic.Pointer[wire] // the last one
}

type delivered struct {
	sid int
	Parcel
}

// Desk opens the desk of an account. Close it before the door.
func (d *Door) Desk(account string, h Hearing) (*Desk, error) {
	k := &Desk{hear: h, replies: "_DESK." + rand.Text() + ".", taken: make(chan delivered, deskTake), stop: make(chan struct{})}
	hello, err := k.hello(deskUser+account, d.password)
	if err != nil {
		return nil, err
	}
	k.dial = func() (*wire, error) {
		conn, err := d.srv.InProcessConn()
		if err != nil {
			return nil, err
		}
		return greet(conn, hello)
	}
	w, err := k.dial()
	if err != nil {
		return nil, fault.Unavailable.New("bus: desk of %s: %w", account, err)
	}
	k.wire.Store(w)
	go k.take()
	go k.read(w)
	return k, nil
}

// hello is what a desk says first: who it is, and what it wants to be told.
func (k *Desk) hello(user, password string) ([]byte, error) {
	who, err := json.Marshal(map[string]any{
		"user": user, "pass": password, "name": "desk", "lang": "go", "protocol": 1, "headers": true, "no_responders": true, "echo": true,
	})
	if err != nil {
		return nil, fault.Internal.New("bus: desk: %w", err)
	}
	b := append(append([]byte("CONNECT "), who...), crlf...)
	b = appendSub(b, k.replies+"*", sidAway)
	if k.hear.Direct != "" {
		b = appendSub(b, k.hear.Direct, sidDirect)
	}
	for i, s := range k.hear.Subjects {
		b = appendSub(b, s, sidSubjects+i)
	}
	return b, nil
}

// Put publishes. If token is not "" and nobody receives it, Hearing's Away is told. The parcel is copied. It returns fault.Invalid for what the
// server would not take, and fault.Unavailable while the desk has no connection.
func (k *Desk) Put(p Parcel, token string) error {
	if token != "" {
		p.Reply = k.replies + token
	}
	return k.wire.Load().put(&p)
}

// Close ends the desk.
func (k *Desk) Close() {
	close(k.stop)
	k.wire.Load().close()
}

// read reads until Close, from one connection after another.
func (k *Desk) read(w *wire) {
	for {
		if w != nil {
			w.read(k.deliver)
			w.close()
		}
		select {
		case <-k.stop:
			return
		case <-time.After(deskAgain):
		}
		var err error
		if w, err = k.dial(); err != nil {
			w = nil // the server stops, or lets nobody in for a moment
			continue
		}
		k.wire.Store(w)
		select {
		case <-k.stop: // Close may have closed the one before
			w.close()
		default:
		}
	}
}

func (k *Desk) deliver(sid int, p Parcel) {
	if sid == sidDirect {
		k.hear.Now(p)
		return
	}
	select {
	case k.taken <- delivered{sid, p}:
	case <-k.stop:
	}
}

func (k *Desk) take() {
	for {
		select {
		case <-k.stop:
			return
		case p := <-k.taken:
			if p.sid != sidAway {
				k.hear.Take(p.Parcel)
			} else if Unreceived(p.Parcel) {
				k.hear.Away(strings.TrimPrefix(p.Subject, k.replies))
			}
		}
	}
}
