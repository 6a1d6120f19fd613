// Package dial makes HTTP clients that reach only what they may.
//
// It exists because an address that a model or a document gives may lead inside: the check is made where the connection is, on the
// IP address itself, so that no name, redirect or second look-up gets around it.
package dial

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"polity.run/fault"
	"polity.run/trace"
)

const (
	RedirectsMax = 5
	connectMax   = 10 * time.Second
	headerMax    = 5 * time.Minute // until the answer begins; the request's context ends it sooner
)

// Client returns a client that connects to public addresses only, or with private also to this machine and its networks, and only to
// the hosts of allow, as in api.example.com (any port of http and https) or 127.0.0.1:8080; an empty list allows all. What is not allowed is
// fault.Denied. Requests say where in a trace their context is. It uses no proxy, and headers that hold secrets do not follow a redirect to another host.
func Client(private bool, allow []string) *http.Client {
	d := &net.Dialer{Timeout: connectMax, Control: func(_, address string, _ syscall.RawConn) error {
		return checkAddress(private, address)
	}}
	next := &http.Transport{
		DialContext: d.DialContext, TLSHandshakeTimeout: connectMax, ResponseHeaderTimeout: headerMax,
		IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 8, ForceAttemptHTTP2: true,
	}
	once := next.Clone()
	once.DisableKeepAlives = true
	return &http.Client{
		Transport: &guarded{allow: allow, next: next, once: once},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) >= RedirectsMax {
				return fault.Invalid.New("%s: more than %d redirects", via[0].URL.Host, RedirectsMax)
			}
			if r.URL.Host != via[0].URL.Host {
				r.Header = http.Header{"Accept": r.Header["Accept"]}
			}
			return nil
		},
	}
}

type guarded struct {
	allow []string
	next  *http.Transport
	once  *http.Transport // for requests that are sent once
}

type onceKey struct{}

// Once returns a context whose requests are sent at most once each, on a connection of their own. Package net/http sends a request again by
// itself when a connection that was used before breaks without an answer, if the method is GET or there is an Idempotency-Key: the
// server may have done what it was asked for.
func Once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

func (g *guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "http" && r.URL.Scheme != "https" {
		return nil, fault.Denied.New("%.100q: want http or https", r.URL.Scheme)
	}
	if r.URL.User != nil {
		return nil, fault.Denied.New("%s: no user and password in an address", r.URL.Host)
	}
	if len(g.allow) > 0 && !Allowed(g.allow, r.URL) {
		return nil, fault.Denied.New("host %.100q is not among those that are allowed: %s", r.URL.Host, strings.Join(g.allow, ", "))
	}
	r = trace.Request(r)
	if r.Context().Value(onceKey{}) != nil {
		return g.once.RoundTrip(r)
	}
	return g.next.RoundTrip(r)
}

// CloseIdleConnections makes http.Client's work.
func (g *guarded) CloseIdleConnections() {
	g.next.CloseIdleConnections()
}

// Allowed says whether the host of an address is among those of allow, as Client does.
func Allowed(allow []string, u *url.URL) bool {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	port := u.Port()
	usual := port == "" || port == "80" && u.Scheme == "http" || port == "443" && u.Scheme == "https"
	for _, a := range allow {
		a = strings.ToLower(a)
		if h, p, err := net.SplitHostPort(a); err == nil {
			if h == host && (p == port || port == "" && (p == "80" && u.Scheme == "http" || p == "443" && u.Scheme == "https")) {
				return true
			}
			continue
		}
		if strings.Trim(a, "[]") == host && usual {
			return true
		}
	}
	return false
}

// inside are networks that are not public and that netip does not name: shared, benchmark, documentation and translated addresses.
var inside = func() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "fec0::/10", "3fff::/20",
	} {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}()

var (
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	sixTo = netip.MustParsePrefix("2002::/16")
)

// checkAddress refuses an address that is about to be connected to, if it is not public.
func checkAddress(private bool, address string) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fault.Denied.New("address %.100q is no IP address and port", address)
	}
	ip := a.Addr().WithZone("").Unmap()
	switch bytes := ip.As16(); {
	case nat64.Contains(ip): // the IPv4 address that is meant is in it
		ip = netip.AddrFrom4([4]byte(bytes[12:16]))
	case sixTo.Contains(ip):
		ip = netip.AddrFrom4([4]byte(bytes[2:6]))
	}
	if Public(ip) {
		return nil
	}
	local := ip.IsLoopback() || ip.IsPrivate()
	if private && local {
		return nil
	}
	if local {
		return fault.Denied.New("address %s is private; \"private: true\" allows it where it is meant", ip)
	}
	return fault.Denied.New("address %s is not public", ip)
}

// Public says whether an address is one of the public internet.
func Public(ip netip.Addr) bool {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return false
	}
	for _, p := range inside {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// Expand sets the environment's values in where $NAME or ${NAME} stands. It returns fault.Denied naming one that is not set.
func Expand(value string) (string, error) {
	var missing string
	text := os.Expand(value, func(name string) string {
		v, ok := os.LookupEnv(name)
		if !ok {
			missing = name
		}
		return v
	})
	if missing != "" {
		return "", fault.Denied.New("the environment has no %s; set it and start again", missing)
	}
	return text, nil
}

// Kind is the kind of fault that an HTTP status from 400 means.
func Kind(status int) fault.Kind {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fault.Denied
	case status == http.StatusNotFound || status == http.StatusGone:
		return fault.NotFound
	case status == http.StatusConflict:
		return fault.Conflict
	case status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500:
		return fault.Unavailable
	default:
		return fault.Invalid
	}
}
