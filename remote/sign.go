package remote

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nkeys"

	"polity.run/fault"
)

// SignedWithin is how far the time of a signed message may be from that of who reads it.
const SignedWithin = 2 * time.Minute

const (
	headKey       = "polity-key"       // of who signs, public
	headTime      = "polity-time"      // when, RFC 3339 with nanoseconds: a message that is said again is signed again
	headSignature = "polity-signature" // Ed25519, in base64
)

// Sign returns the header of a message with a proof that the holder of the credentials says it now, on this subject and no other. header is not changed; nil
// is an empty one.
func (c Credentials) Sign(subject string, header map[string][]string, data []byte, now time.Time) (map[string][]string, error) {
	pair, err := nkeys.FromSeed([]byte(c.Seed))
	if err != nil {
		return nil, fault.Invalid.New("credentials: seed: %w", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, fault.Invalid.New("credentials: seed: %w", err)
	}
	out := make(map[string][]string, len(header)+3)
	for name, values := range header {
		out[name] = values
	}
	out[headKey], out[headTime] = []string{public}, []string{now.UTC().Format(time.RFC3339Nano)}
	delete(out, headSignature)
	signature, err := pair.Sign(signedText(subject, out, data))
	if err != nil {
		return nil, fault.Internal.New("sign: %w", err)
	}
	out[headSignature] = []string{base64.RawURLEncoding.EncodeToString(signature)}
	return out, nil
}

// Signed returns the public key whose holder signed a message within SignedWithin of now, and the signature, which no other message has. It returns
// fault.Unauthenticated for one that is not signed, or not so.
func Signed(subject string, header map[string][]string, data []byte, now time.Time) (key, signature string, err error) {
	one := func(name string) string {
		if v := header[name]; len(v) == 1 {
			return v[0]
		}
		return ""
	}
	key, text := one(headKey), one(headSignature)
	if key == "" || text == "" {
		return "", "", fault.Unauthenticated.New("it is not signed")
	}
	at, err := time.Parse(time.RFC3339Nano, one(headTime))
	if err != nil {
		return "", "", fault.Unauthenticated.New("%s: want a time of RFC 3339", headTime)
	}
	if off := now.Sub(at).Abs(); off > SignedWithin {
		return "", "", fault.Unauthenticated.New("it was signed at %s, which is further from now than %s: sign it when it is sent, and look at the clock", at.Format(time.RFC3339), SignedWithin)
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", "", fault.Unauthenticated.New("%s: want base64", headSignature)
	}
	pair, err := nkeys.FromPublicKey(key)
	if err != nil || pair.Verify(signedText(subject, header, data), raw) != nil {
		return "", "", fault.Unauthenticated.New("the signature is not of this key, or not of this message")
	}
	return key, string(raw), nil // the text could be written in other ways
}

// signedText is what is signed: a line that says what it is, the subject, the headers of messages and of signatures but the signature itself, sorted, a line
// each, and the hash of the payload. Neither subjects nor headers have line ends. The reply subject is not in it, which a client makes late.
func signedText(subject string, header map[string][]string, data []byte) []byte {
	lines := make([]string, 0, len(header))
	for name, values := range header {
		if lower := strings.ToLower(name); lower == headSignature || !strings.HasPrefix(lower, "ce-") && !strings.HasPrefix(lower, "polity-") {
			continue
		}
		for _, v := range values {
			lines = append(lines, name+":"+v)
		}
	}
	slices.Sort(lines)
	sum := sha256.Sum256(data)
	return []byte("polity signed 1\n" + subject + "\n" + strings.Join(lines, "\n") + "\n" + hex.EncodeToString(sum[:]))
}
