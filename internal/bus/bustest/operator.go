package bustest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Operator is a server in operator mode: its users are those that hold a JWT which is signed by their account.
type Operator struct {
	*Server
	dir          string
	account, sys nkeys.KeyPair
	number       int
}

// StartOperator starts such a server, with an account that has JetStream and one of the system, both preloaded in memory. more is the rest of the
// configuration.
func StartOperator(t testing.TB, more string) *Operator {
	t.Helper()
	o := &Operator{dir: t.TempDir(), account: pair(t, nkeys.CreateAccount), sys: pair(t, nkeys.CreateAccount)}
	root := pair(t, nkeys.CreateOperator)
	operator := jwt.NewOperatorClaims(public(t, root))
	operator.Name, operator.SystemAccount = "O", public(t, o.sys)
	node := jwt.NewAccountClaims(public(t, o.account))
	node.Name = "POLITY"
	node.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: jwt.NoLimit, MemoryStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
	sys := jwt.NewAccountClaims(public(t, o.sys))
	sys.Name = "SYS"
	conf := fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {%s: %s, %s: %s}\n%s",
		encode(t, operator, root), public(t, o.sys), public(t, o.account), encode(t, node, root), public(t, o.sys), encode(t, sys, root), more)
	o.Server = start(t, "n1", Free(t), conf)
	return o
}

// Creds writes a file of credentials for a new user of the node's account, or of the system's. life is how long they hold, 0 for good; change, if not nil,
// changes the user's claims.
func (o *Operator) Creds(system bool, life time.Duration, change func(*jwt.UserClaims)) string {
	o.t.Helper()
	o.number++
	account := o.account
	if system {
		account = o.sys
	}
	user := pair(o.t, nkeys.CreateUser)
	c := jwt.NewUserClaims(public(o.t, user))
	c.Name = fmt.Sprintf("user%d", o.number)
	if life != 0 {
		c.Expires = time.Now().Add(life).Unix()
	}
	if change != nil {
		change(c)
	}
	seed, err := user.Seed()
	if err != nil {
		o.t.Fatal(err)
	}
	text, err := jwt.FormatUserConfig(encode(o.t, c, account), seed)
	if err != nil {
		o.t.Fatal(err)
	}
	file := filepath.Join(o.dir, c.Name+".creds")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return file
}

// Streams is how many streams the account of a user has.
func (o *Operator) Streams(creds, ca string) (int, error) {
	nc, err := nats.Connect(o.URL(), nats.UserCredentials(creds), nats.RootCAs(ca))
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		return 0, err
	}
	info, err := js.AccountInfo()
	if err != nil {
		return 0, err
	}
	return info.Streams, nil
}

// NKey writes a file with the seed of a new user, and returns its public key as well.
func NKey(t testing.TB) (file, key string) {
	t.Helper()
	user := pair(t, nkeys.CreateUser)
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, public(t, user)
}

func pair(t testing.TB, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	k, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func public(t testing.TB, k nkeys.KeyPair) string {
	t.Helper()
	p, err := k.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func encode(t testing.TB, c jwt.Claims, by nkeys.KeyPair) string {
	t.Helper()
	token, err := c.Encode(by)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
