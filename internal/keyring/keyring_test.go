package keyring_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"polity.run/fault"
	"polity.run/internal/keyring"
)

func open(t *testing.T, dir string) *keyring.Ring {
	t.Helper()
	r, err := keyring.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func key(t *testing.T, r *keyring.Ring, subject string) string {
	t.Helper()
	id, err := r.Key(subject)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func Example() {
	dir, err := os.MkdirTemp("", "keys-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	r, _ := keyring.Open(dir)
	id, _ := r.Key("customer-17")
	sealed, _ := r.Seal(id, []byte("a letter"))
	plain, err := r.Open(id, sealed)
	fmt.Println(string(plain), err)
	fmt.Println(r.Destroy(id))
	_, err = r.Open(id, sealed)
	fmt.Println(errors.Is(err, fault.NotFound))
	// Output:
	// a letter <nil>
	// <nil>
	// true
}

func TestKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	r := open(t, dir)
	if _, err := r.Find("ada"); !errors.Is(err, fault.NotFound) {
		t.Errorf("found in an empty keyring: %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a keyring that nobody uses is written")
	}
	ada, bob := key(t, r, "ada"), key(t, r, "bob")
	if ada == bob || key(t, r, "ada") != ada {
		t.Errorf("keys %s and %s", ada, bob)
	}
	one, _ := r.Seal(ada, []byte("text"))
	two, _ := r.Seal(ada, []byte("text"))
	if bytes.Equal(one[:12], two[:12]) {
		t.Error("a nonce came twice")
	}
	if _, err := r.Open(bob, one); !errors.Is(err, fault.Damaged) {
		t.Errorf("opened with another key: %v", err)
	}
	for i := range one {
		bad := bytes.Clone(one)
		bad[i] ^= 1
		if _, err := r.Open(ada, bad); !errors.Is(err, fault.Damaged) {
			t.Fatalf("byte %d was flipped: %v", i, err)
		}
		if _, err := r.Open(ada, one[:i]); !errors.Is(err, fault.Damaged) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	r = open(t, dir)
	if id, err := r.Find("ada"); id != ada || err != nil {
		t.Errorf("after a restart the key is %s, %v", id, err)
	}
	if plain, err := r.Open(ada, one); string(plain) != "text" || err != nil {
		t.Errorf("after a restart: %s %v", plain, err)
	}
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		info, err := f.Info()
		data, _ := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil || info.Mode().Perm() != 0o600 || bytes.Contains(data, []byte("ada")) {
			t.Errorf("%s: %v %v: %s", f.Name(), info.Mode(), err, data)
		}
	}
	for range 2 {
		if err := r.Destroy(ada); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Open(ada, one); !errors.Is(err, fault.NotFound) {
		t.Errorf("opened with a key that is destroyed: %v", err)
	}
	if again := key(t, r, "ada"); again == ada || again[:16] != ada[:16] {
		t.Errorf("the new key is %s, the old one was %s", again, ada)
	}
	for _, id := range []string{"", "../../etc/passwd", strings.Repeat("x", 24)} {
		if err := r.Destroy(id); !errors.Is(err, fault.Invalid) {
			t.Errorf("destroyed %q: %v", id, err)
		}
	}
	if _, err := r.Key(strings.Repeat("x", keyring.SubjectMax+1)); !errors.Is(err, fault.Invalid) {
		t.Errorf("a long subject: %v", err)
	}
}

// TestOldKeyBesideANewOne destroys a key that was put back from an old copy while its person has a new one.
func TestOldKeyBesideANewOne(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	was := key(t, r, "ada")
	file, _ := os.ReadFile(filepath.Join(dir, was+".key"))
	if err := r.Destroy(was); err != nil {
		t.Fatal(err)
	}
	is := key(t, r, "ada")
	sealed, _ := r.Seal(is, []byte("text"))
	if err := os.WriteFile(filepath.Join(dir, was+".key"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	if err := r.Destroy(was); err != nil {
		t.Fatal(err)
	}
	if plain, err := r.Open(is, sealed); string(plain) != "text" || err != nil {
		t.Errorf("the new key: %s %v", plain, err)
	}
	if id := key(t, r, "ada"); id != is {
		t.Errorf("the person's key is %s, not %s", id, is)
	}
}

func TestDamagedKeyIsFound(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	id := key(t, r, "ada")
	sealed, _ := r.Seal(id, []byte("text"))
	other := key(t, r, "bob")
	text, err := os.ReadFile(filepath.Join(dir, other+".key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"cut": string(text[:20]), "another person's": string(text), "empty": ""} {
		if err := os.WriteFile(filepath.Join(dir, id+".key"), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, dir).Open(id, sealed); !errors.Is(err, fault.Damaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMasterFromOutside(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(keyring.MasterVariable, "too short")
	if _, err := open(t, dir).Key("ada"); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "openssl rand -hex 32") {
		t.Errorf("a bad master key: %v", err)
	}
	t.Setenv(keyring.MasterVariable, strings.Repeat("ab", 32))
	r := open(t, dir)
	id := key(t, r, "ada")
	sealed, _ := r.Seal(id, []byte("text"))
	if _, err := os.Stat(filepath.Join(dir, "master")); err == nil {
		t.Error("a master key from outside is written to the keyring")
	}
	t.Setenv(keyring.MasterVariable, strings.Repeat("cd", 32))
	if _, err := open(t, dir).Open(id, sealed); !errors.Is(err, fault.Denied) {
		t.Errorf("opened with another master key: %v", err)
	}
	file := filepath.Join(t.TempDir(), "master-2")
	if err := os.WriteFile(file, []byte(strings.Repeat("cd", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(keyring.MasterVariable, strings.Repeat("ab", 32))
	if n, err := keyring.Rotate(dir, file); n != 1 || err != nil {
		t.Fatalf("%d keys, %v", n, err)
	}
	if _, err := open(t, dir).Open(id, sealed); !errors.Is(err, fault.Denied) {
		t.Errorf("opened with the old master key: %v", err)
	}
	t.Setenv(keyring.MasterVariable, "")
	t.Setenv(keyring.MasterFileVariable, file)
	if plain, err := open(t, dir).Open(id, sealed); string(plain) != "text" || err != nil {
		t.Errorf("with the new one: %s %v", plain, err)
	}
}

// TestRotationThatIsCutOff puts the keyring into each state that a rotation can leave: any number of keys are wrapped by the new master key,
// and the master key has its old name, or none, yet. In each everything can be read, and the same command goes on.
func TestRotationThatIsCutOff(t *testing.T) {
	const keys = 4
	made := t.TempDir()
	r := open(t, made)
	var ids [keys]string
	var sealed [keys][]byte
	for i := range ids {
		ids[i] = key(t, r, fmt.Sprint("person ", i))
		sealed[i], _ = r.Seal(ids[i], []byte("text"))
	}
	done := filepath.Join(t.TempDir(), "done")
	if err := os.CopyFS(done, os.DirFS(made)); err != nil {
		t.Fatal(err)
	}
	if n, err := keyring.Rotate(done, ""); n != keys || err != nil {
		t.Fatalf("%d keys, %v", n, err)
	}
	check := func(dir, when string) {
		t.Helper()
		r := open(t, dir)
		for i, id := range ids {
			if plain, err := r.Open(id, sealed[i]); string(plain) != "text" || err != nil {
				t.Errorf("%s: key %d: %v", when, i, err)
			}
			if found, err := r.Find(fmt.Sprint("person ", i)); found != id {
				t.Errorf("%s: person %d has key %s, %v", when, i, found, err)
			}
		}
	}
	check(done, "rotated")
	old, _ := os.ReadFile(filepath.Join(made, "master"))
	next, _ := os.ReadFile(filepath.Join(done, "master"))
	if bytes.Equal(old, next) {
		t.Fatal("the master key is the old one")
	}
	names := []string{"tag"}
	for _, id := range ids {
		names = append(names, id+".key")
	}
	for n := range len(names) + 1 {
		dir := filepath.Join(t.TempDir(), "cut")
		if err := os.CopyFS(dir, os.DirFS(made)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "master.new"), next, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, name := range names[:n] {
			data, _ := os.ReadFile(filepath.Join(done, name))
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		when := fmt.Sprintf("cut off after %d of %d", n, len(names))
		check(dir, when)
		if n == len(names) { // the old one is gone, and the new one has not its name yet
			if err := os.Remove(filepath.Join(dir, "master")); err != nil {
				t.Fatal(err)
			}
			check(dir, when+", without the old master key")
		}
		if _, err := keyring.Rotate(dir, ""); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		check(dir, when+", and finished")
		left, _ := filepath.Glob(filepath.Join(dir, "*.new"))
		if len(left) > 0 {
			t.Errorf("%s: %v is left", when, left)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	r, err := keyring.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	id, err := r.Key("ada")
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{100, 1 << 10, 32 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			plain := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := r.Seal(id, plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
