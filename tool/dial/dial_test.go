package dial

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"polity.run/fault"
)

// TestAddresses looks at what is about to be connected to, which is what every form of a URL comes down to.
func TestAddresses(t *testing.T) {
	refused := []string{
		"127.0.0.1:80", "127.1.2.3:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "10.0.0.1:80", "172.16.0.1:80", "192.168.1.1:80", "[fd00::1]:80",
		"169.254.169.254:80", "[::ffff:169.254.169.254]:80", "[fe80::1%eth0]:80", "0.0.0.0:80", "[::]:80", "100.64.0.1:80", "198.18.0.1:80", "224.0.0.1:80",
		"[ff02::1]:80", "255.255.255.255:80", "240.0.0.1:80", "[64:ff9b::7f00:1]:80", "[64:ff9b::a9fe:a9fe]:80", "[2002:7f00:1::]:80", "[2001:db8::1]:80", "192.0.2.1:80",
		"[100::1]:80", "[fec0::1]:80", "localhost:80", "", "[2002:a9fe:a9fe::]:80", "203.0.113.9:443",
	}
	for _, a := range refused {
		if err := checkAddress(false, a); !errors.Is(err, fault.Denied) {
			t.Errorf("%s: got %v, want denied", a, err)
		}
	}
	for _, a := range []string{"8.8.8.8:443", "[2606:4700::1111]:443", "[64:ff9b::808:808]:443"} {
		if err := checkAddress(false, a); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	for _, a := range []string{"127.0.0.1:80", "192.168.1.1:80", "[fd00::1]:80"} {
		if err := checkAddress(true, a); err != nil {
			t.Errorf("%s is private and allowed: %v", a, err)
		}
	}
	for _, a := range []string{"169.254.169.254:80", "[fe80::1]:80", "0.0.0.0:80", "[64:ff9b::a9fe:a9fe]:80"} { // metadata of clouds, never
		if err := checkAddress(true, a); !errors.Is(err, fault.Denied) {
			t.Errorf("%s: got %v, want denied though private is allowed", a, err)
		}
	}
}

// TestForms has the ways to write this machine's address: each is refused when it is dialled.
func TestForms(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody got in") }))
	defer s.Close()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := Client(false, nil)
	for _, host := range []string{"127.0.0.1", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "0", "0x7f000001", "2130706433", "0177.0.0.1", "127.1"} {
		r, err := c.Get("http://" + host + ":" + port + "/")
		if err == nil {
			r.Body.Close()
			t.Errorf("%s was reached", host)
		}
	}
	for _, u := range []string{"ftp://example.com/", "file:///etc/passwd", "http://user:pass@example.com/", "gopher://x/"} {
		if r, err := c.Get(u); !errors.Is(err, fault.Denied) {
			if err == nil {
				r.Body.Close()
			}
			t.Errorf("%s: got %v", u, err)
		}
	}
}

func TestAllowList(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("X-Key") != "" {
			t.Error("a secret followed the redirect")
		}
	}))
	defer other.Close()
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/meta":
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		default:
			_, _ = io.WriteString(w, "here")
		}
	}))
	defer first.Close()
	host := strings.TrimPrefix(first.URL, "http://")
	get := func(c *http.Client, url string) error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer x")
		r.Header.Set("X-Key", "x")
		a, err := c.Do(r)
		if err == nil {
			a.Body.Close()
		}
		return err
	}
	c := Client(true, []string{host})
	if err := get(c, first.URL); err != nil {
		t.Error(err)
	}
	for url, kind := range map[string]fault.Kind{
		first.URL + "/away": fault.Denied, first.URL + "/meta": fault.Denied, other.URL: fault.Denied, first.URL + "/round": fault.Invalid,
	} {
		if err := get(c, url); !errors.Is(err, kind) {
			t.Errorf("%s: got %v, want %s", url, err, kind)
		}
	}
	if err := get(Client(true, nil), first.URL+"/away"); err != nil {
		t.Error(err)
	}
	if err := get(Client(true, nil), first.URL+"/meta"); !errors.Is(err, fault.Denied) {
		t.Errorf("got %v", err)
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("[64:ff9b::7f00:1]:80")
	f.Add("1.2.3.4:1")
	f.Fuzz(func(t *testing.T, a string) {
		if checkAddress(false, a) != nil {
			return
		}
		ip := netip.MustParseAddrPort(a).Addr().Unmap()
		if ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
			t.Errorf("%s got through", a)
		}
	})
}

// TestOnce has a server do what it is asked for and then hang up, on a connection that was used before. Package net/http asks again by itself;
// a request that is sent once is not.
func TestOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		ctx   func(context.Context) context.Context
		times int32
	}{
		"otherwise":    {func(ctx context.Context) context.Context { return ctx }, 2},
		"at most once": {Once, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var times atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/well" {
					return
				}
				times.Add(1)
				if conn, _, err := w.(http.Hijacker).Hijack(); err != nil || conn.Close() != nil {
					t.Error("the connection cannot be closed")
				}
			}))
			defer s.Close()
			c := Client(true, nil)
			for _, path := range []string{"/well", "/badly"} {
				r, err := http.NewRequestWithContext(tt.ctx(t.Context()), http.MethodPost, s.URL+path, strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Idempotency-Key", "k")
				a, err := c.Do(r)
				if (err == nil) != (path == "/well") {
					t.Fatalf("%s: %v", path, err)
				}
				if err == nil {
					_ = a.Body.Close() // it is empty
				}
			}
			if got := times.Load(); got != tt.times {
				t.Errorf("it was asked for %d times, want %d", got, tt.times)
			}
		})
	}
}
