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
	complaints := &limited{max: stderrMax}
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
		return nil, fault.Failed.New("%s: %w: %s", spec.Command[0], err, strings.TrimSpace(complaints.buf.String()))
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

// Copy puts the pinned files of a program into a folder that is named for them, unless it is there already, and
// returns the folder. load returns a file's content by its digest.
func Copy(root, name string, spec *agent.Exec, load func(digest string) ([]byte, error)) (string, error) {
	dir := filepath.Join(root, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", fault.Unavailable.New("exec: copy files: %w", err)
	}
	tmp, err := os.MkdirTemp(root, ".new-")
	if err != nil {
		return "", fault.Unavailable.New("exec: copy files: %w", err)
	}
	for file, pin := range spec.Files {
		data, err := load(pin.Digest)
		if err != nil {
			return "", errors.Join(err, os.RemoveAll(tmp))
		}
		if err := put(filepath.Join(tmp, filepath.FromSlash(file)), data, pin.Executable); err != nil {
			return "", errors.Join(fault.Unavailable.New("exec: copy files: %w", err), os.RemoveAll(tmp))
		}
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, there := os.Stat(dir); there == nil { // another request was faster
			return dir, os.RemoveAll(tmp)
		}
		return "", errors.Join(fault.Unavailable.New("exec: copy files: %w", err), os.RemoveAll(tmp))
	}
	return dir, nil
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
