// Package unary answers a unary gRPC call on loopback with what it was asked.
//
// It exists so that messages can be measured beside what most services speak. The life of an Echo: Open -> Ask -> Close.
package unary

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polity.run/fault"
)

const method = "/polity.bench.Echo/Ask"

// Echo is a server and a client that is connected to it over TCP, without TLS. Its methods are safe for concurrent use.
type Echo struct {
	srv   *grpc.Server
	conn  *grpc.ClientConn
	ended chan error
}

// Open listens on a free port of this machine. It returns fault.Unavailable if there is none. Close it.
func Open() (*Echo, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fault.Unavailable.New("unary: %w", err)
	}
	e := &Echo{srv: grpc.NewServer(), ended: make(chan error, 1)}
	e.srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: "polity.bench.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Ask", Handler: func(_ any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.BytesValue)
			return in, read(in)
		}}},
	}, e)
	go func() { e.ended <- e.srv.Serve(l) }()
	if e.conn, err = grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		e.srv.Stop()
		return nil, fault.Unavailable.New("unary: %w", err)
	}
	return e, nil
}

// Ask sends data, and returns what comes back.
func (e *Echo) Ask(ctx context.Context, data []byte) ([]byte, error) {
	out := new(wrapperspb.BytesValue)
	if err := e.conn.Invoke(ctx, method, wrapperspb.Bytes(data), out); err != nil {
		return nil, fault.Unavailable.New("unary: %w", err)
	}
	return out.Value, nil
}

// Close ends both, and waits.
func (e *Echo) Close() error {
	err := e.conn.Close()
	e.srv.Stop()
	if end := <-e.ended; end != nil && !errors.Is(end, grpc.ErrServerStopped) {
		err = errors.Join(err, end)
	}
	return err
}
