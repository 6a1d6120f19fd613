package bus

import (
	"crypto/rand"
	"time"

	"github.com/nats-io/nats.go"

	"polity.run/fault"
)

// Parcel is a message that came in or goes out.
type Parcel struct {
	Subject string
	Reply   string
	Header  map[string][]string
	Data    []byte
}

// Unreceived says whether a parcel is what the server says when nobody received what was put with its subject for replies.
func Unreceived(p Parcel) bool {
	status := p.Header["Status"]
	return len(p.Data) == 0 && len(status) == 1 && status[0] == "503"
}

// Hearing says what a desk does with what it is told.
type Hearing struct {
	Subjects []string           // with wildcards
	Take     func(Parcel)       // is given what is published on them, in order, from one goroutine for each of them
	Answers  func(Parcel)       // is given what is published on AnswersOfAgents, from one more
	Away     func(token string) // is given the token of what was Put and had no receiver
}

const deskAgain = 20 * time.Millisecond // before a desk that was cut connects again

// Desk is where those inside meet the guests of one account: it may publish and subscribe to everything there. It goes through memory. A desk that was cut
// connects again. Its methods are safe for concurrent use.
type Desk struct {
	nc      *nats.Conn
	replies string
}

// Desk opens the desk of an account. Close it before the door.
func (d *Door) Desk(account string, h Hearing) (*Desk, error) {
	nc, err := nats.Connect("", nats.InProcessServer(d.srv), nats.UserInfo(deskUser+account, d.password), nats.Name("desk"),
		nats.MaxReconnects(-1), nats.ReconnectWait(deskAgain), nats.Timeout(deskWait))
	if err != nil {
		return nil, fault.Unavailable.New("bus: desk of %s: %w", account, err)
	}
	k := &Desk{nc: nc, replies: "_DESK." + rand.Text() + "."}
	_, err = nc.Subscribe(k.replies+"*", func(m *nats.Msg) {
		if Unreceived(Parcel{Header: m.Header}) {
			h.Away(m.Subject[len(k.replies):])
		}
	})
	hear := func(subject string, take func(Parcel)) {
		if err == nil && take != nil {
			_, err = nc.Subscribe(subject, func(m *nats.Msg) { take(Parcel{m.Subject, m.Reply, m.Header, m.Data}) })
		}
	}
	hear(AnswersOfAgents, h.Answers)
	for _, s := range h.Subjects {
		hear(s, h.Take)
	}
	if err == nil {
		err = nc.FlushTimeout(deskWait)
	}
	if err != nil {
		nc.Close()
		return nil, fault.Unavailable.New("bus: desk of %s: %w", account, err)
	}
	return k, nil
}

// Put publishes. If token is not "" and nobody receives it, Hearing's Away is told. The parcel is copied, but for its Header, which is not to be changed. It returns
// fault.Unavailable for what the server would not take.
func (k *Desk) Put(p Parcel, token string) error {
	if token != "" {
		p.Reply = k.replies + token
	}
	if err := k.nc.PublishMsg(&nats.Msg{Subject: p.Subject, Reply: p.Reply, Header: p.Header, Data: p.Data}); err != nil {
		return fault.Unavailable.New("bus: put on %s: %w", p.Subject, err)
	}
	return nil
}

// Close ends the desk.
func (k *Desk) Close() { k.nc.Close() }
