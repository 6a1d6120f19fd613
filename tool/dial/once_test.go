package dial_test

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"polity.run/tool/dial"
)

// TestOnce wants a request with a key to reach a service once that takes it and breaks off, on a connection that has been used before. net/http
// would send it again.
func TestOnce(t *testing.T) {
	for name, once := range map[string]bool{"as net/http does": false, "once": true} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var paid atomic.Int32
			key := make(chan string, 8)
			go breakOff(l, &paid, key)
			client := dial.Client(true, []string{l.Addr().String()})
			warm, err := client.Get("http://" + l.Addr().String() + "/")
			if err != nil {
				t.Fatal(err)
			}
			warm.Body.Close()
			r, err := http.NewRequest(http.MethodPost, "http://"+l.Addr().String()+"/pay", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Idempotency-Key", "0-a#pay")
			if once {
				dial.Once(r)
			}
			if answer, err := client.Do(r); err == nil {
				answer.Body.Close()
				t.Error("there is an answer")
			}
			if got := <-key; got != "0-a#pay" {
				t.Errorf("key %q arrived", got)
			}
			if n := paid.Load(); (n == 1) != once {
				t.Errorf("it arrived %d times", n)
			}
		})
	}
}

// breakOff answers every GET, and closes the connection once it has read a POST.
func breakOff(l net.Listener, paid *atomic.Int32, key chan<- string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			in := bufio.NewReader(c)
			for {
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				if r.Method == http.MethodPost {
					paid.Add(1)
					key <- r.Header.Get("Idempotency-Key")
					return
				}
				_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
			}
		}()
	}
}
