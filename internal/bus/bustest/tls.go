package bustest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA issues certificates. File has its own, PEM.
type CA struct {
	t      testing.TB
	File   string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

// NewCA makes one that nobody trusts yet.
func NewCA(t testing.TB) *CA {
	t.Helper()
	c := &CA{t: t}
	var err error
	if c.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	c.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	c.File, _ = c.sign(c.cert, c.cert, c.key)
	return c
}

// Issue writes a certificate and its key for a name, for use by servers and clients of 127.0.0.1, that ends after a while.
func (c *CA) Issue(name string, life time.Duration) (cert, key string) {
	c.t.Helper()
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}, c.cert, pair)
}

func (c *CA) sign(template, parent *x509.Certificate, pair *ecdsa.PrivateKey) (cert, key string) {
	c.t.Helper()
	c.serial++
	template.SerialNumber = big.NewInt(c.serial)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &pair.PublicKey, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		c.t.Fatal(err)
	}
	dir := c.t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	return cert, key
}

// TLS is the configuration of a server with a certificate of this CA, which with verify wants one of its clients.
func (c *CA) TLS(verify bool) string {
	c.t.Helper()
	cert, key := c.Issue("server", time.Hour)
	return fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: %v }\n", cert, key, c.File, verify)
}

// Configured starts a server with a configuration of one's own, beside address and store.
func Configured(t testing.TB, conf string) *Server {
	t.Helper()
	return start(t, "n1", Free(t), conf)
}
