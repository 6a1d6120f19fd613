// Package hook is about requests that are signed: those that other services send when something happens there, and those that a node sends when something
// happens here.
//
// It exists so that both are as https://www.standardwebhooks.com says: an ID that stays the same when a message is sent again, a time, and a signature of both
// and the body, by a secret that both sides know.
package hook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"polity.run/agent"
	"polity.run/fault"
)

// The headers of a signed request.
const (
	IDHeader        = "Webhook-Id"
	TimeHeader      = "Webhook-Timestamp" // seconds since 1970
	SignatureHeader = "Webhook-Signature"
)

// The limits of signed requests.
const (
	WindowDefault = 5 * time.Minute
	WindowMax     = agent.HookWindowMax
	IDMax         = 200 // bytes
	signaturesMax = 8   // of one request: a secret may be about to be replaced
	secretBytes   = 32
	secretMin     = 24 // bytes, of one that somebody else made
	secretPrefix  = "whsec_"
)

// NewSecret makes a secret.
func NewSecret() string {
	key := make([]byte, secretBytes)
	rand.Read(key) // which never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

// CheckSecret returns fault.Invalid for what is no secret, or can be guessed.
func CheckSecret(secret string) error {
	_, err := keyOf(secret)
	return err
}

func keyOf(secret string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil || !strings.HasPrefix(secret, secretPrefix) || len(key) < secretMin {
		return nil, fault.Invalid.New("hook: secret: want %s and the base64 of at least %d bytes", secretPrefix, secretMin)
	}
	return key, nil
}

// Sign returns the signature of a message: version 1, which is HMAC-SHA256. It returns fault.Invalid for a bad secret.
func Sign(secret, id string, at time.Time, body []byte) (string, error) {
	key, err := keyOf(secret)
	if err != nil {
		return "", err
	}
	return "v1," + base64.StdEncoding.EncodeToString(sum(key, id, at.Unix(), body)), nil
}

func sum(key []byte, id string, at int64, body []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + strconv.FormatInt(at, 10) + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// Verify returns the ID of a message whose signature is right and whose time is within a window around now. Else it returns fault.Unauthenticated.
func Verify(secret string, h http.Header, body []byte, now time.Time, window time.Duration) (id string, err error) {
	key, err := keyOf(secret)
	if err != nil {
		return "", err
	}
	id = h.Get(IDHeader)
	at, err := strconv.ParseInt(h.Get(TimeHeader), 10, 64)
	if id == "" || len(id) > IDMax || err != nil {
		return "", fault.Unauthenticated.New("hook: %s and %s (seconds since 1970) are needed", IDHeader, TimeHeader)
	}
	given := strings.Fields(h.Get(SignatureHeader))
	if len(given) > signaturesMax {
		given = given[:signaturesMax]
	}
	want, right := sum(key, id, at, body), false
	for _, g := range given {
		version, text, _ := strings.Cut(g, ",")
		got, err := base64.StdEncoding.DecodeString(text)
		right = right || err == nil && version == "v1" && hmac.Equal(got, want)
	}
	if !right {
		return "", fault.Unauthenticated.New("hook: the signature is not right")
	}
	if off := now.Sub(time.Unix(at, 0)).Abs(); off > window {
		return "", fault.Unauthenticated.New("hook: the message is from another time: %s off, and %s is allowed", off.Round(time.Second), window)
	}
	return id, nil
}
