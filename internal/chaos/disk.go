package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	diskSize   = "384M"
	unmountMax = 10 * time.Second
)

// disk is a file system in a file. A copy of the file holds what had reached the disk, and nothing that only the operating system had.
type disk struct {
	dir   string // holds the files
	image string
	at    string // where it is mounted
	cuts  int
}

// canMount returns why no file system can be made here, or nil.
func canMount() error {
	if os.Geteuid() != 0 {
		return errors.New("only root can mount a file system in a file")
	}
	for _, tool := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed", tool)
		}
	}
	return nil
}

func newDisk(dir string) (*disk, error) {
	d := &disk{dir: dir, image: filepath.Join(dir, "disk-0"), at: filepath.Join(dir, "mounted")}
	if err := errors.Join(os.Mkdir(d.at, 0o700), command("truncate", "-s", diskSize, d.image)); err != nil {
		return nil, err
	}
	if err := command("mkfs.ext4", "-q", "-F", d.image); err != nil {
		return nil, err
	}
	return d, d.mount()
}

func (d *disk) mount() error { return command("mount", "-o", "loop", d.image, d.at) }

// unmount waits for the programs that ended with the node, a moment after it.
func (d *disk) unmount() error {
	for deadline := time.Now().Add(unmountMax); ; time.Sleep(lookStep) {
		if err := command("umount", d.at); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// freeze copies what has reached the disk by now. cut goes on with the copy.
func (d *disk) freeze() (string, error) {
	d.cuts++
	copied := filepath.Join(d.dir, fmt.Sprintf("disk-%d", d.cuts))
	return copied, command("cp", "--sparse=always", d.image, copied)
}

// cut replaces the disk by a copy of it. The node is dead, and whatever it started ends with the power.
func (d *disk) cut(copied string) error {
	for _, pid := range inside(d.at) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
	if err := d.unmount(); err != nil {
		return err
	}
	if err := os.Remove(d.image); err != nil {
		return err
	}
	d.image = copied
	return d.mount()
}

// fill writes until nothing more fits, and returns what makes room again.
func (d *disk) fill() (func() error, error) {
	path := filepath.Join(d.at, "ballast")
	f, err := os.Create(path)
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		return nil, err
	}
	room := func() error { return os.Remove(path) }
	if f == nil {
		return func() error { return nil }, nil
	}
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil && !errors.Is(err, io.ErrShortWrite) {
			return room, errors.Join(err, f.Close())
		}
	}
	return room, f.Close()
}

func command(args ...string) error {
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// inside are the processes that work in a folder or below.
func inside(dir string) (pids []int) {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd") // the pattern is right
	for _, link := range links {
		at, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(at, dir+"/") { // other users' are no matter
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
