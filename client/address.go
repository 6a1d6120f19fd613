package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"polity.run/fault"
)

// AddressFile is the file in the state folder by which a node says how it is reached.
const AddressFile = "serve.json"

const addressMax = 4 << 10 // bytes of the address file

// Address says how a node is reached. Whoever knows the token may do everything that the node can.
type Address struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	PID   int    `json:"pid"`
}

// parseAddress reads an address. It returns fault.Damaged for anything but the address of a node of
// this machine, so that the token goes nowhere else.
func parseAddress(data []byte) (Address, error) {
	var a Address
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return Address{}, fault.Damaged.New("client: address: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Address{}, fault.Damaged.New("client: address: more than one value")
	}
	u, err := url.Parse(a.URL)
	switch {
	case err != nil:
		return Address{}, fault.Damaged.New("client: address: %w", err)
	case u.Scheme != "http" || u.Hostname() != "127.0.0.1" || u.Port() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return Address{}, fault.Damaged.New("client: address: %q is not http://127.0.0.1:PORT", a.URL)
	case a.Token == "":
		return Address{}, fault.Damaged.New("client: address: no token")
	}
	return a, nil
}

func readAddress(stateDir string) (Address, error) {
	path := filepath.Join(stateDir, AddressFile)
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Address{}, fault.NotFound.New("client: no process says in %s how it is reached", path)
	case err != nil:
		return Address{}, fault.Denied.New("client: address: %w", err)
	}
	data, err := readOwn(f, path)
	if err := errors.Join(err, f.Close()); err != nil {
		return Address{}, err
	}
	return parseAddress(data)
}

// readOwn reads the file if it is the user's own and nobody else's.
func readOwn(f *os.File, path string) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fault.Unavailable.New("client: address: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return nil, fault.Denied.New("client: address: %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fault.Denied.New("client: address: others may read or write %s (mode %04o, want 0600): "+
			"what it says is not used; end the process that wrote it", path, info.Mode().Perm())
	case ok && int(owner.Uid) != os.Geteuid():
		return nil, fault.Denied.New("client: address: %s belongs to user %d, not to you", path, owner.Uid)
	}
	data, err := io.ReadAll(io.LimitReader(f, addressMax+1))
	if err != nil {
		return nil, fault.Unavailable.New("client: address: %w", err)
	}
	if len(data) > addressMax {
		return nil, fault.Damaged.New("client: address: %s is larger than %d bytes", path, addressMax)
	}
	return data, nil
}
