package work

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/sandbox"
	"polity.run/trace"
)

// Program starts a program for each request: the request's input goes to its standard input, and its standard
// output is its answer, as JSON. It runs in dir, a folder of its own with copies of its pinned files, with an environment of its own and in a
// sandbox, and ends with all that it started when its time is over or it takes more than it may: see sandbox.Run for the faults.
//
// Nothing of the run's folder is passed but its path, as POLITY_FOLDER, and the right to read it. TRACEPARENT and TRACESTATE say where in a
// trace it is asked, if that is anywhere.
func Program(ctx context.Context, spec *agent.Exec, dir, key, folder string, input json.RawMessage) (json.RawMessage, error) {
	args := slices.Clone(spec.Command)
	if _, pinned := spec.Files[strings.TrimPrefix(args[0], "./")]; pinned {
		args[0] = filepath.Join(dir, args[0])
	}
	c := sandbox.Command{
		Name: spec.Command[0], Args: args, Home: dir, Folder: folder, Env: environ(ctx, spec, key, folder),
		Stdin: input, OutputMax: spec.OutputMax,
	}
	if spec.Sandbox != nil {
		c.Sandbox = *spec.Sandbox
	}
	return sandbox.Run(ctx, c)
}

// environ is a program's environment. What its declaration says is above what is said of the request.
func environ(ctx context.Context, spec *agent.Exec, key, folder string) []string {
	env := append([]string{"POLITY_KEY=" + key, "POLITY_FOLDER=" + folder}, trace.From(ctx).Environ()...)
	return append(env, spec.Env...)
}

// Copy puts the pinned files of a program into a new folder below root, and returns the folder and what removes it. Every
// request has a folder of its own, so that a program that writes in it changes nothing for the next. load returns a file's content by
// its digest.
func Copy(root string, spec *agent.Exec, load func(digest string) ([]byte, error)) (dir string, remove func() error, err error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", nil, copyKind(err).New("exec: copy files: %w", err)
	}
	if dir, err = os.MkdirTemp(root, "run-"); err != nil {
		return "", nil, copyKind(err).New("exec: copy files: %w", err)
	}
	remove = func() error { return os.RemoveAll(dir) }
	for file, pin := range spec.Files {
		data, err := load(pin.Digest)
		if err == nil {
			err = put(filepath.Join(dir, filepath.FromSlash(file)), data, pin.Executable)
		}
		if err != nil {
			return "", nil, errors.Join(copyKind(err).New("exec: copy %s: %w", file, err), remove())
		}
	}
	return dir, remove, nil
}

// copyKind is the kind of what a copy failed with: that of a file that could not be loaded, else that of a disk.
func copyKind(err error) fault.Kind {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.Full
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return known.Kind
	}
	return fault.Unavailable
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
