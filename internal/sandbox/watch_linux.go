package sandbox

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"polity.run/fault"
	"polity.run/tool"
)

const (
	watchEvery = 20 * time.Millisecond
	diskEvery  = 10      // looks at processes for each look at the disk
	forgetting = 50      // looks after which every process is looked at again, since numbers are given again
	filesMax   = 100_000 // files in a program's own folder
)

// watch looks at what a program and all that it started use together: the kernel's limits are for each process alone.
type watch struct {
	pid    int
	home   string
	limits tool.Sandbox

	mine   map[int]bool
	others map[int]bool
}

// run looks until ended is closed, or calls stop with the limit that was exceeded.
func (w *watch) run(ended <-chan struct{}, stop func(error)) {
	ticks := time.NewTicker(watchEvery)
	defer ticks.Stop()
	for n := 1; ; n++ {
		select {
		case <-ended:
			return
		case <-ticks.C:
		}
		if n%forgetting == 0 {
			w.others = nil
		}
		err := w.processes()
		if err == nil && n%diskEvery == 0 {
			err = w.disk()
		}
		if err != nil {
			stop(err)
			return
		}
	}
}

// processes returns a fault if the program's processes are too many or have too much memory.
func (w *watch) processes() error {
	d, err := os.Open("/proc")
	if err != nil {
		return fault.Unavailable.New("sandbox: watch: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return fault.Unavailable.New("sandbox: watch: %w", err)
	}
	before := w.mine
	w.mine = map[int]bool{w.pid: true}
	if w.others == nil {
		w.others = map[int]bool{}
	}
	tasks, memory := 0, int64(0)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || w.others[pid] {
			continue
		}
		s, ok := readStat(name)
		switch {
		case !ok: // it has ended
		case pid == w.pid || s.session == w.pid || before[pid] || w.mine[s.parent] || before[s.parent]:
			w.mine[pid] = true
			tasks += s.threads
			memory += s.memory
		default:
			w.others[pid] = true
		}
		if tasks > w.limits.Processes {
			return fault.Exceeded("processes", "more than %d processes and threads", w.limits.Processes)
		}
	}
	if memory > w.limits.Memory {
		return fault.Exceeded("memory", "more than %d MiB of memory", w.limits.Memory>>20)
	}
	return nil
}

// stat is what is read of a process.
type stat struct {
	parent, session, threads int
	memory                   int64 // bytes
}

// Places of fields in /proc/PID/stat, after the name.
const (
	statParent  = 1
	statSession = 3
	statThreads = 17
	statMemory  = 21 // pages
)

func readStat(pid string) (stat, bool) {
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return stat{}, false
	}
	return parseStat(string(data))
}

func parseStat(text string) (s stat, ok bool) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) <= statMemory {
		return s, false
	}
	number := func(i int) int64 {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		ok = ok && err == nil
		return n
	}
	ok = true
	s = stat{int(number(statParent)), int(number(statSession)), int(number(statThreads)), number(statMemory) * int64(os.Getpagesize())}
	return s, ok
}

// disk returns a fault if the program's own folder holds too much.
func (w *watch) disk() error {
	files, size := 0, int64(0)
	return filepath.WalkDir(w.home, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it was deleted meanwhile, or the program has shut it: the next file is looked at
		}
		if files++; files > filesMax {
			return fault.Exceeded("disk", "more than %d files in its own folder", filesMax)
		}
		info, err := e.Info()
		if err != nil {
			return nil // it was deleted meanwhile
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			size += s.Blocks * 512
		}
		if size > w.limits.Disk {
			return fault.Exceeded("disk", "more than %d MiB in its own folder", w.limits.Disk>>20)
		}
		return nil
	})
}
