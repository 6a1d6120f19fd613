package engine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"polity.run/fault"
)

const (
	certFile = "door-cert.pem" // in the state folder
	keyFile  = "door-key.pem"
	certLife = 5 * 365 * 24 * time.Hour
)

// tls returns what a door that other machines reach shows, with the certificate that agents hold it against; nil for a door of this machine.
func (d *Door) tls(state, listen string) (*tls.Config, string, error) {
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	local := host == "localhost" || ip != nil && ip.IsLoopback()
	cert, key := d.Cert, d.Key
	switch {
	case err != nil:
		return nil, "", fault.Invalid.New("listen on %q: want HOST:PORT, as in 127.0.0.1:4222", listen)
	case (cert == "") != (key == ""):
		return nil, "", fault.Invalid.New("a certificate and its key go together")
	case cert == "" && local:
		return nil, "", nil
	case cert == "":
		cert, key = filepath.Join(state, certFile), filepath.Join(state, keyFile)
		if err := ownCertificate(cert, key, []string{host}); err != nil {
			return nil, "", err
		}
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, "", fault.Invalid.New("certificate %s: %w", cert, err)
	}
	shown, err := os.ReadFile(cert)
	if err != nil {
		return nil, "", fault.Denied.New("certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}, string(shown), nil
}

// OwnCertificate returns the files of a certificate of the node's own, and of its key, by which a server shows that it is one of the hosts. They are made if
// there are none for all of them; "" and 0.0.0.0 are all names of this machine.
func (e *Engine) OwnCertificate(hosts []string) (cert, key string, err error) {
	cert, key = filepath.Join(e.state, "api-cert.pem"), filepath.Join(e.state, "api-key.pem")
	return cert, key, ownCertificate(cert, key, hosts)
}

// ownCertificate makes a certificate of the node's own for hosts, unless there is one for them: agents get it with their credentials, and trust no other.
func ownCertificate(cert, key string, hosts []string) error {
	if has, err := os.ReadFile(cert); err == nil {
		block, _ := pem.Decode(has)
		if block == nil {
			return fault.Damaged.New("certificate %s holds none", cert)
		}
		read, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fault.Damaged.New("certificate %s: %w", cert, err)
		}
		lacks := func(host string) bool { return !unspecified(host) && read.VerifyHostname(host) != nil }
		if time.Now().Before(read.NotAfter) && !slices.ContainsFunc(hosts, lacks) {
			return nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fault.Denied.New("certificate: %w", err)
	}
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fault.Internal.New("certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return fault.Internal.New("certificate: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "polity"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(certLife),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	for _, host := range hosts {
		dns, ips := names(host)
		t.DNSNames, t.IPAddresses = append(t.DNSNames, dns...), append(t.IPAddresses, ips...)
	}
	signed, err := x509.CreateCertificate(rand.Reader, t, t, &pair.PublicKey, pair)
	if err != nil {
		return fault.Internal.New("certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		return fault.Internal.New("certificate: %w", err)
	}
	err = errors.Join(
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600),
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), 0o600))
	if err != nil {
		return fault.Denied.New("certificate: %w", err)
	}
	return nil
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// names are what a certificate is for: the host, or all names and addresses of this machine if it is reached by each.
func names(host string) (dns []string, ips []net.IP) {
	if !unspecified(host) {
		if ip := net.ParseIP(host); ip != nil {
			return nil, []net.IP{ip}
		}
		return []string{host}, nil
	}
	dns = []string{"localhost"}
	if name, err := os.Hostname(); err == nil {
		dns = append(dns, name)
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return dns, []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			ips = append(ips, n.IP)
		}
	}
	return dns, ips
}
