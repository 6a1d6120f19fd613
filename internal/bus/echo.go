package bus

import (
	"context"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"polity.run/fault"
)

// Echo answers requests with their data, over a server of its own and with nothing around it: what messages are measured beside. It asks through
// memory, as the engine does, and whoever answers is connected over TCP on loopback, as agents outside are. Its methods are safe for concurrent use.
type Echo struct {
	srv           *server.Server
	asks, answers *nats.Conn
}

const echoSubject = "echo"

// OpenEcho starts it. Close it.
func OpenEcho() (*Echo, error) {
	e := &Echo{}
	var err error
	if e.srv, err = server.NewServer(&server.Options{ServerName: "polity-echo", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true}); err != nil {
		return nil, fault.Unavailable.New("bus: echo: %w", err)
	}
	e.srv.Start()
	if !e.srv.ReadyForConnections(deskWait) {
		e.Close()
		return nil, fault.Unavailable.New("bus: echo: cannot listen")
	}
	if e.answers, err = nats.Connect(e.srv.ClientURL()); err == nil {
		_, err = e.answers.Subscribe(echoSubject, func(m *nats.Msg) {
			_ = m.Respond(m.Data) // who asks misses it, and says so
		})
	}
	if err == nil {
		err = e.answers.FlushTimeout(deskWait)
	}
	if err == nil {
		e.asks, err = nats.Connect("", nats.InProcessServer(e.srv))
	}
	if err != nil {
		e.Close()
		return nil, fault.Unavailable.New("bus: echo: %w", err)
	}
	return e, nil
}

// Ask sends a request, and returns what comes back.
func (e *Echo) Ask(ctx context.Context, header map[string][]string, data []byte) ([]byte, error) {
	m, err := e.asks.RequestMsgWithContext(ctx, &nats.Msg{Subject: echoSubject, Header: header, Data: data})
	if err != nil {
		return nil, fault.Unavailable.New("bus: echo: %w", err)
	}
	return m.Data, nil
}

// Close ends it.
func (e *Echo) Close() {
	for _, c := range []*nats.Conn{e.asks, e.answers} {
		if c != nil {
			c.Close()
		}
	}
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
}
