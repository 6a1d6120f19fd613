package client

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"polity.run/fault"
)

// Server is a node that is reached by its address, on this machine or another one.
type Server struct {
	URL   string // as in https://polity.example.com:7654
	Token string // an API key, the owner's token, or one of an issuer that the node believes
	CA    []byte // certificates that the node's is held against, PEM; nil: those of this machine
}

// Dial returns a client of a server. It asks the server nothing yet. It returns fault.Invalid for an address that cannot be one, and fault.Denied for a token that
// would go over a network in plain text.
func Dial(s Server) (*Client, error) {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil:
		return nil, fault.Invalid.New("client: server: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fault.Invalid.New("client: server %.200q: want https://HOST:PORT", s.URL)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fault.Denied.New("client: server %s: a token does not go over a network in plain text; use https", s.URL)
	case s.Token == "":
		return nil, fault.Unauthenticated.New("client: server %s: a token is needed", s.URL)
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: dialMax}).DialContext, ResponseHeaderTimeout: idleMax, DisableCompression: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13},
	}
	if s.CA != nil {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(s.CA) {
			return nil, fault.Invalid.New("client: server %s: there is no certificate, PEM, to hold the server's against", s.URL)
		}
	}
	return &Client{at: Address{URL: u.Scheme + "://" + u.Host, Token: s.Token}, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a token follows nobody
	}}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Near says whether the node is reached by this machine's loopback, and so, unless something passes requests on, is of this machine.
func (c *Client) Near() bool {
	u, err := url.Parse(c.at.URL)
	return err == nil && loopback(u.Hostname())
}

// Name says for people which node it is.
func (c *Client) Name() string {
	if c.at.PID == 0 {
		return c.at.URL
	}
	return "process " + strconv.Itoa(c.at.PID)
}
