package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"polity.run"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/sandbox"
)

// What doctor finds too little, too slow or too odd.
const (
	freeLeast   = 32 << 20 // bytes: with less the engine admits no new run
	freeLittle  = 1 << 30  // bytes
	filesLittle = 1024     // open files
	syncTries   = 16
	syncBytes   = 4 << 10
	syncSlow    = 50 * time.Millisecond
	clockOff    = 2 * time.Second // between the clock and the file system's
)

// builtAfter is a time that has passed wherever this program runs.
var builtAfter = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// machine checks what does not depend on the state folder.
func (d *doctor) machine() {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	v := versionOf(info)
	d.ok("polity", "%s, %s, %s, %s", v.Version, v.Go, v.Platform, count(runtime.GOMAXPROCS(0), "core"))
	if name, err := kernel(); err != nil {
		d.warn("kernel", "", "it does not say what it is: %s", err)
	} else {
		d.ok("kernel", "%s", name)
	}
	var limit syscall.Rlimit
	switch err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); {
	case err != nil:
		d.warn("open files", "", "the limit cannot be read: %s", err)
	case limit.Cur < filesLittle:
		d.warn("open files", "ulimit -n 4096", "at most %d at once", limit.Cur)
	default:
		d.ok("open files", "at most %d at once", limit.Cur)
	}
	for _, o := range sandbox.Support() {
		if o.Offered {
			d.ok("sandbox", "%s: %s", o.Protection, o.How)
		} else {
			d.warn("sandbox", "name it under require: in the manifest to start no program without it", "%s: programs run without it: %s", o.Protection, o.How)
		}
	}
	if now := time.Now(); now.Before(builtAfter) {
		d.fail("clock", "set the clock, as with NTP", "it says %s, which is before this program was made", moment(now))
	}
}

// state checks the state folder. It makes none.
func (d *doctor) state(ctx context.Context, dir string) {
	there, exists, err := nearestFolder(dir)
	if err != nil {
		d.fail("state", "name another folder with --state", "%s: %s", dir, err)
		return
	}
	probe, err := os.CreateTemp(there, ".polity-doctor-*")
	if err != nil {
		d.fail("state", "make it yours (chown), or name another folder with --state", "%s cannot be written: %s", there, err)
		return
	}
	switch info, err := os.Stat(there); {
	case !exists:
		d.ok("state", "%s does not exist yet; the first run makes it", dir)
	case err == nil && info.Mode().Perm()&0o077 != 0:
		d.warn("state", "chmod 700 "+there, "others may look into %s (mode %04o)", dir, info.Mode().Perm())
	default:
		d.ok("state", "%s can be written", dir)
	}
	d.room(there)
	d.clock(probe)
	d.syncing(probe)
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		d.warn("state", "delete it", "a probe is left behind: %s", err)
	}
	if exists {
		d.serving(ctx, dir)
	}
}

// nearestFolder is the folder, or else the nearest one above it that exists.
func nearestFolder(dir string) (there string, exists bool, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", false, err
	}
	for there = abs; ; there = filepath.Dir(there) {
		info, err := os.Stat(there)
		switch {
		case errors.Is(err, fs.ErrNotExist) && there != filepath.Dir(there):
			continue
		case err != nil:
			return "", false, err
		case !info.IsDir():
			return "", false, fault.Denied.New("%s is not a folder", there)
		}
		return there, there == abs, nil
	}
}

// fileSystems are those that are worth a word, by their magic numbers (statfs(2)).
var fileSystems = map[int64]struct{ name, odd, fix string }{
	0x01021994: {"tmpfs", "it is gone with the next start of the machine", "name a folder on a disk with --state"},
	0x858458f6: {"ramfs", "it is gone with the next start of the machine", "name a folder on a disk with --state"},
	0x6969:     {"nfs", "locks and syncs of a network are not tested", "name a folder on a local disk with --state"},
	0xff534d42: {"cifs", "locks and syncs of a network are not tested", "name a folder on a local disk with --state"},
	0xfe534d42: {"smb2", "locks and syncs of a network are not tested", "name a folder on a local disk with --state"},
	0x65735546: {"fuse", "what a sync does depends on who serves it", "name a folder on a local disk with --state"},
	0x794c7630: {"overlay", "it goes with the container", "name a folder of a volume with --state"},
	0xef53:     {name: "ext4"},
	0x58465342: {name: "xfs"},
	0x9123683e: {name: "btrfs"},
	0x2fc12fc1: {name: "zfs"},
	0xf2f52010: {name: "f2fs"},
}

// room checks the space and the kind of the file system.
func (d *doctor) room(dir string) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		d.warn("disk", "", "%s", err)
		return
	}
	switch free := s.Bavail * uint64(s.Bsize); {
	case free < freeLeast:
		d.fail("disk", "free some space", "%d MiB are free; below %d MiB no new run is admitted", free>>20, freeLeast>>20)
	case s.Files > 0 && s.Ffree == 0:
		d.fail("disk", "delete files", "no file can be made: the file system has no inode left")
	case free < freeLittle:
		d.warn("disk", "free some space", "%d MiB are free", free>>20)
	default:
		d.ok("disk", "%.1f GiB are free", float64(free)/(1<<30))
	}
	switch kind := fileSystems[int64(s.Type)&0xffffffff]; {
	case kind.odd != "":
		d.warn("file system", kind.fix, "%s: %s", kind.name, kind.odd)
	case kind.name != "":
		d.ok("file system", "%s", kind.name)
	default:
		d.ok("file system", "type %#x", s.Type)
	}
}

// clock compares the clock with the file system's.
func (d *doctor) clock(probe *os.File) {
	info, err := probe.Stat()
	if err != nil {
		d.warn("clock", "", "%s", err)
		return
	}
	if off := time.Since(info.ModTime()).Abs(); off > clockOff {
		d.warn("clock", "set the clocks of this machine and of the file system's alike, as with NTP", "the file system's is %s off", off.Round(time.Second))
		return
	}
	d.ok("clock", "%s", time.Now().Format(time.RFC3339))
}

// syncing measures how long the disk takes to have a small write.
func (d *doctor) syncing(probe *os.File) {
	took := make([]time.Duration, syncTries)
	block := make([]byte, syncBytes)
	for i := range took {
		began := time.Now()
		_, err := probe.Write(block)
		if err := errors.Join(err, probe.Sync()); err != nil {
			d.fail("sync", "name another folder with --state", "%s", err)
			return
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	if median := took[syncTries/2]; median > syncSlow {
		d.warn("sync", "name a folder on a faster disk with --state, or give --sync os, which a power cut may cost the last steps",
			"a write of %d bytes is on the disk after %s (median of %d)", syncBytes, median.Round(time.Microsecond), syncTries)
	} else {
		d.ok("sync", "a write of %d bytes is on the disk after %s (median of %d)", syncBytes, median.Round(time.Microsecond), syncTries)
	}
}

// serving checks who serves the state folder and, if nobody does, whether its store opens.
func (d *doctor) serving(ctx context.Context, dir string) {
	if !d.isState(dir) {
		d.ok("store", "nothing ran yet")
		return
	}
	e, err := engine.Open(ctx, d.onNATS(engine.Config{State: dir, Agents: d.agents, Sync: engine.Sync(d.sync.value), Park: true, Whole: true, Log: d.logger()}))
	switch {
	case errors.Is(err, fault.Conflict):
		c, none := ask(ctx, dir)
		if none != nil {
			d.fail("serving", "wait for it to end, or end it", "%s, which does not answer: %s", err, none)
			return
		}
		d.ok("serving", "process %d serves it, and answers", c.PID())
		d.runs(ctx, c)
		return
	case err != nil:
		d.fail("store", storeFix(err), "%s", err)
		return
	}
	d.ok("serving", "nobody serves it; whoever runs something does")
	d.runs(ctx, e)
	if err := e.Close(); err != nil {
		d.fail("store", "", "it does not close: %s", err)
	}
}

func storeFix(err error) string {
	switch {
	case errors.Is(err, fault.Damaged):
		return "keep a copy of the folder; begin with another one, by --state"
	case errors.Is(err, fault.Full):
		return "free some space"
	default:
		return ""
	}
}

// runs checks what the store holds.
func (d *doctor) runs(ctx context.Context, n interface {
	List(ctx context.Context) ([]polity.Summary, error)
}) {
	all, err := n.List(ctx)
	if err != nil {
		d.fail("store", "", "its runs cannot be listed: %s", err)
		return
	}
	parked, stopped := 0, 0
	var last time.Time
	for _, s := range all {
		if s.Parked {
			parked++
		}
		if s.Status == polity.StatusStopped {
			stopped++
		}
		if s.Opened.After(last) {
			last = s.Opened
		}
	}
	d.ok("store", "it is whole: %s, of which %d wait to be gone on with", count(len(all), "run"), parked)
	if stopped > 0 {
		d.warn("store", "polity runs list --status stopped", "%s stopped: their code or their log is another one now", count(stopped, "run"))
	}
	if ahead := time.Until(last); ahead > clockOff {
		d.warn("clock", "set the clock, as with NTP", "the last run was opened %s from now: the clock was put back", ahead.Round(time.Second))
	}
}
