package bus

import (
	"github.com/nats-io/nats-server/v2/server"

	"polity.run/fault"
)

// Census is what a server holds.
type Census struct {
	Streams     int `json:"streams"`
	Consumers   int `json:"consumers"`
	Connections int `json:"connections"`
}

// Census counts what the bus holds now.
func (b *Bus) Census() (Census, error) {
	b.mu.Lock()
	srv := b.srv
	b.mu.Unlock()
	if srv == nil {
		return Census{}, fault.Unavailable.New("bus: the server is being started")
	}
	info, err := srv.Jsz(&server.JSzOptions{})
	if err != nil {
		return Census{}, fault.Unavailable.New("bus: count: %w", err)
	}
	return Census{Streams: info.Streams, Consumers: info.Consumers, Connections: srv.NumClients()}, nil
}
