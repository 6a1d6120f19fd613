package door

import (
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"polity.run/fault"
)

const certEvery = time.Second // between two looks at the files of a certificate

// secure returns how the public door shows who it is; nil if there is only the one of this machine, or something before it does.
func (d *Door) secure() (*tls.Config, error) {
	host, _, err := net.SplitHostPort(d.cfg.Listen)
	ip := net.ParseIP(host)
	local := host == "localhost" || ip != nil && ip.IsLoopback()
	cert, key := d.cfg.Cert, d.cfg.Key
	switch {
	case err != nil:
		return nil, fault.Invalid.New("door: listen on %q: want HOST:PORT, as in 127.0.0.1:7654", d.cfg.Listen)
	case (cert == "") != (key == ""):
		return nil, fault.Invalid.New("door: a certificate and its key go together: --tls-cert and --tls-key")
	case d.cfg.TLS != "" && cert != "":
		return nil, fault.Invalid.New("door: TLS is %s, and there is a certificate; give one of them", d.cfg.TLS)
	case d.cfg.TLS == TLSOff || local && d.cfg.TLS == "" && cert == "":
		return nil, nil
	case d.cfg.TLS == TLSOwn:
		hosts := []string{host}
		for _, h := range d.cfg.Hosts {
			hosts = append(hosts, bare(h))
		}
		if cert, key, err = d.engine.OwnCertificate(hosts); err != nil {
			return nil, err
		}
	case cert == "":
		return nil, fault.Invalid.New("door: other machines reach %s, and it would be in plain text: give --tls-cert and --tls-key, or --tls own; "+
			"or --tls off if what is before it has TLS", d.cfg.Listen)
	}
	d.cert = &certificate{file: cert, key: key}
	if _, err := d.cert.get(nil); err != nil {
		return nil, err
	}
	return &tls.Config{GetCertificate: d.cert.get, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// bare is a host without its port, if it has one.
func bare(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// certificate is one in files, which are read again when they have changed: so that one that runs out is replaced while the door is open.
type certificate struct {
	file, key string

	mu     sync.Mutex
	pair   *tls.Certificate
	looked time.Time
	of     time.Time // when the file was written
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.pair != nil && now.Sub(c.looked) < certEvery {
		return c.pair, nil
	}
	c.looked = now
	info, err := os.Stat(c.file)
	if err == nil && c.pair != nil && info.ModTime().Equal(c.of) {
		return c.pair, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.file, c.key)
	}
	switch {
	case err == nil:
		c.pair, c.of = &pair, info.ModTime()
	case c.pair == nil:
		return nil, fault.Invalid.New("door: certificate %s: %w", c.file, err)
	} // else the files are being written: the one before is still good
	return c.pair, nil
}

// name is the first name that the certificate is for.
func (c *certificate) name() string {
	pair, err := c.get(nil)
	if err != nil || pair.Leaf == nil {
		return "localhost"
	}
	for _, n := range pair.Leaf.DNSNames {
		if n != "localhost" {
			return n
		}
	}
	for _, ip := range pair.Leaf.IPAddresses {
		return ip.String()
	}
	return "localhost"
}

// names says whether the certificate is for a host.
func (c *certificate) names(host string) bool {
	pair, err := c.get(nil)
	return err == nil && pair.Leaf != nil && pair.Leaf.VerifyHostname(host) == nil
}

// reached says whether a request's Host header names this door.
func (d *Door) reached(r *http.Request) bool {
	host := strings.ToLower(r.Host)
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, ""
	}
	if slices.ContainsFunc(d.cfg.Hosts, func(h string) bool { h = strings.ToLower(h); return h == host || h == name }) {
		return true
	}
	if r.TLS != nil {
		_, own, err := net.SplitHostPort(d.public.Addr().String())
		return err == nil && (port == own || port == "" && own == "443") && d.cert.names(name)
	}
	_, own, err := net.SplitHostPort(d.local.Addr().String())
	return err == nil && port == own && (name == "127.0.0.1" || name == "localhost" || name == "::1")
}
