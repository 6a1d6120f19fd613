package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"polity.run/fault"
)

// stateLock is held by the one process that serves a state folder. It goes with the process, however it ends.
type stateLock struct {
	folder *os.File // the folder itself: a lock on a file alone ends, for all others, where somebody removes the file
	file   *os.File // names the process; versions before this one look at its lock
}

// lockState takes the folder for this process. It returns fault.Conflict if another one has it.
func lockState(dir string) (*stateLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Denied.New("engine: state folder: %w", err)
	}
	folder, err := os.Open(dir)
	if err != nil {
		return nil, fault.Denied.New("engine: state folder: %w", err)
	}
	l := &stateLock{folder: folder}
	// Some network file systems lock no folder: there the file's lock has to do.
	if err := flock(folder); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(servedElsewhere(dir), l.Close())
	}
	if l.file, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, errors.Join(fault.Denied.New("engine: state folder %s cannot be written: %w; name another with --state", dir, err), l.Close())
	}
	if err := flock(l.file); err != nil {
		return nil, errors.Join(servedElsewhere(dir), l.Close())
	}
	if err := l.sign(); err != nil {
		kind := fault.Denied
		if errors.Is(err, syscall.ENOSPC) {
			kind = fault.Full
		}
		return nil, errors.Join(kind.New("engine: state folder %s: %w", dir, err), l.Close())
	}
	return l, nil
}

func flock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// servedElsewhere is the fault of a folder that another process has. Where that has left no name, the fault says less.
func servedElsewhere(dir string) error {
	owner, _ := os.ReadFile(filepath.Join(dir, "lock"))
	return fault.Conflict.New("engine: state folder %s is served by process %s", dir, strings.TrimSpace(string(owner[:min(len(owner), 20)])))
}

// sign writes which process this is.
func (l *stateLock) sign() error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func (l *stateLock) Close() error {
	err := l.folder.Close()
	if l.file != nil {
		err = errors.Join(l.file.Close(), err)
	}
	return err
}
