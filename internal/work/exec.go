package work

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"polity.run/agent"
	"polity.run/fault"
)

const (
	stderrMax   = 4 << 10         // bytes of a program's complaints that go into a fault
	killGrace   = 2 * time.Second // pipes of a killed program are waited for this long
	defaultPath = "/usr/local/bin:/usr/bin:/bin"
)

// Program starts a program for each request: the request's input goes to its standard input, and its standard
// output is its answer, as JSON. It runs in a folder with copies of its pinned files, with an environment of its own,
// and ends with its whole process group when its time is over or it prints more than it may.
//
// Nothing of the run's folder is passed but its path, as POLITY_FOLDER.
func Program(ctx context.Context, spec *agent.Exec, dir, key, folder string, input json.RawMessage) (json.RawMessage, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	name := spec.Command[0]
	if _, pinned := spec.Files[strings.TrimPrefix(name, "./")]; pinned {
		name = filepath.Join(dir, name)
	}
	cmd := exec.CommandContext(ctx, name, spec.Command[1:]...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + path(), "HOME=" + dir, "POLITY_KEY=" + key, "POLITY_FOLDER=" + folder}, spec.Env...)
	cmd.Stdin = bytes.NewReader(input)
	out := &limited{max: spec.OutputMax, full: func() {
		cancel(fault.Exceeded("output", "%s: more than %d bytes of output", spec.Command[0], spec.OutputMax))
	}}
	complaints := &tail{max: stderrMax}
	cmd.Stdout, cmd.Stderr = out, complaints
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killGrace
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist):
		return nil, fault.NotFound.New("%s: no such program: %w", spec.Command[0], err)
	case errors.Is(err, os.ErrPermission):
		return nil, fault.Denied.New("%s: cannot be started: %w", spec.Command[0], err)
	case err != nil:
		return nil, fault.Failed.New("%s: %w: %s", spec.Command[0], err, strings.TrimSpace(string(complaints.buf)))
	}
	return json.RawMessage(bytes.TrimSpace(out.buf.Bytes())), nil
}

func path() string {
	if p := os.Getenv("PATH"); p != "" {
		return p
	}
	return defaultPath
}

// limited keeps the first max bytes, drops the rest, and tells once that there was more.
type limited struct {
	buf  bytes.Buffer
	max  int
	full func()
}

func (l *limited) Write(b []byte) (int, error) {
	room := l.max - l.buf.Len()
	if len(b) > room {
		l.buf.Write(b[:max(room, 0)])
		if l.full != nil {
			l.full()
			l.full = nil
		}
		return len(b), nil
	}
	return l.buf.Write(b)
}

// tail keeps the last max bytes.
type tail struct {
	buf []byte
	max int
}

func (t *tail) Write(b []byte) (int, error) {
	n := len(b)
	if n > t.max {
		b = b[n-t.max:]
	}
	t.buf = append(t.buf[max(0, len(t.buf)+len(b)-t.max):], b...)
	return n, nil
}

// Copy puts the pinned files of a program into a new folder below root, and returns the folder and what removes it. Every
// request has a folder of its own, so that a program that writes in it changes nothing for the next. load returns a file's content by
// its digest.
func Copy(root string, spec *agent.Exec, load func(digest string) ([]byte, error)) (dir string, remove func() error, err error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", nil, fault.Unavailable.New("exec: copy files: %w", err)
	}
	if dir, err = os.MkdirTemp(root, "run-"); err != nil {
		return "", nil, fault.Unavailable.New("exec: copy files: %w", err)
	}
	remove = func() error { return os.RemoveAll(dir) }
	for file, pin := range spec.Files {
		data, err := load(pin.Digest)
		if err == nil {
			err = put(filepath.Join(dir, filepath.FromSlash(file)), data, pin.Executable)
		}
		if err != nil {
			return "", nil, errors.Join(fault.Of(err).Kind.New("exec: copy %s: %w", file, err), remove())
		}
	}
	return dir, remove, nil
}

func put(path string, data []byte, executable bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	mode := os.FileMode(0o400)
	if executable {
		mode = 0o500
	}
	return os.WriteFile(path, data, mode)
}
