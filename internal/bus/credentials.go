package bus

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"polity.run/fault"
)

// userClaims is what is of interest here of a user's JWT. Its signature is the server's to check.
type userClaims struct {
	Name    string `json:"name"`
	Subject string `json:"sub"`
	Until   int64  `json:"exp"` // Unix seconds; 0 for good
	From    int64  `json:"nbf"`
	NATS    struct {
		Type string `json:"type"`
	} `json:"nats"`
}

// checkCredentials returns fault.Invalid for a file that is no user's JWT and seed, and fault.Denied for ones that do not hold now: the server would say of
// all that no more than that it does not take them.
func checkCredentials(file string, now time.Time) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fault.Invalid.New("nats: credentials: %w", err)
	}
	const want = "want a user's JWT and seed, as nsc generate creds writes them"
	token, err := nkeys.ParseDecoratedJWT(text)
	if err != nil {
		return fault.Invalid.New("nats: credentials %s: no JWT in it: %s", file, want)
	}
	c, err := readClaims(token)
	if err != nil {
		return fault.Invalid.New("nats: credentials %s: %w: %s", file, err, want)
	}
	pair, err := nkeys.ParseDecoratedUserNKey(text)
	if err != nil {
		return fault.Invalid.New("nats: credentials %s: no seed of a user in it: %s", file, want)
	}
	switch public, err := pair.PublicKey(); {
	case err != nil:
		return fault.Invalid.New("nats: credentials %s: %w", file, err)
	case c.NATS.Type != "user":
		return fault.Invalid.New("nats: credentials %s: a JWT of type %.20q: %s", file, c.NATS.Type, want)
	case public != c.Subject:
		return fault.Invalid.New("nats: credentials %s: its JWT is of %s and its seed of %s: %s", file, c.Subject, public, want)
	case c.Until != 0 && now.Unix() >= c.Until:
		return fault.Denied.New("nats: the credentials in %s, of user %q, ended at %s: have others made, as with: nsc generate creds --name %s",
			file, c.Name, time.Unix(c.Until, 0).UTC().Format(time.RFC3339), c.Name)
	case now.Unix() < c.From:
		return fault.Denied.New("nats: the credentials in %s, of user %q, begin at %s: is the clock right?", file, c.Name, time.Unix(c.From, 0).UTC().Format(time.RFC3339))
	}
	return nil
}

// readClaims reads a JWT, without a look at its signature.
func readClaims(token string) (c userClaims, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errors.New("its JWT has not three parts")
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(body, &c)
	}
	if err != nil {
		return c, fmt.Errorf("its JWT cannot be read: %w", err)
	}
	return c, nil
}

// named has an error name a file, if it does not.
func named(file string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok && pe.Path == file {
		return err
	}
	return fmt.Errorf("%s: %w", file, err)
}

// as says what somebody connects with, and what to look at if it is not taken.
func (s *Server) as() string {
	switch {
	case s.Creds != "":
		return "the credentials in " + s.Creds + ": the user may have been revoked, its account be unknown to the server, or its JWT be of another operator"
	case s.NKey != "":
		return "the NKey in " + s.NKey + ": the server has no user with its public key"
	case s.User != "":
		return fmt.Sprintf("user %q with its password, from the environment", s.User)
	case s.Token != "":
		return "the token"
	case s.Cert != "":
		return "the certificate " + s.Cert + " alone"
	default:
		return "somebody without credentials: give --nats-creds, --nats-nkey, --nats-user or $POLITY_NATS_TOKEN"
	}
}

// refusal says whether an error is about who connects.
func refusal(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired)
}

// unconnected says why a connection was not made.
func (s *Server) unconnected(err error) error {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	_, other := errors.AsType[x509.HostnameError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case errors.Is(err, fault.Denied), errors.Is(err, fault.Invalid):
		return err
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired):
		return fault.Denied.New("nats: %s: what one may connect with has ended: %s: %w", s.URL, s.as(), err)
	case refusal(err):
		return fault.Denied.New("nats: %s does not take %s: %w", s.URL, s.as(), err)
	case wantsCertificate(err):
		if s.Cert == "" {
			return fault.Denied.New("nats: %s wants a certificate of the client: give --nats-cert and --nats-key: %w", s.URL, err)
		}
		return fault.Denied.New("nats: %s does not take the certificate %s: %w", s.URL, s.Cert, err)
	case unknown && s.CA == "":
		return fault.Denied.New("nats: %s: nobody whom this machine trusts vouches for the server's certificate: name the file of who does with --nats-ca: %w", s.URL, err)
	case unknown:
		return fault.Denied.New("nats: %s: the server's certificate is not of the CA in %s: %w", s.URL, s.CA, err)
	case invalid, other:
		return fault.Denied.New("nats: %s: the server's certificate is not good for it: %w", s.URL, err)
	case plain, errors.Is(err, nats.ErrSecureConnWanted):
		return fault.Unavailable.New("nats: %s: the server has no TLS: leave out --nats-ca and --nats-cert, and tls:// in its address, or set it up there: %w", s.URL, err)
	default:
		return fault.Unavailable.New("nats: connect to %s: %w", s.URL, err)
	}
}

// wantsCertificate says whether a server ended the handshake as it does without the client's certificate, or with one of somebody it does not know. What it says comes in words alone.
func wantsCertificate(err error) bool {
	text := err.Error()
	for _, alert := range []string{"tls: certificate required", "tls: bad certificate", "tls: unknown certificate authority", "tls: unknown certificate"} {
		if strings.Contains(text, "remote error: "+alert) {
			return true
		}
	}
	return strings.Contains(text, "closed by remote after TLS handshake") // of TLS 1.3, where the client may find the connection closed before it reads why
}
