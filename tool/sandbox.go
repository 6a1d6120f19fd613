package tool

import (
	"path/filepath"
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
)

// Limits of a program in a sandbox that hold where a Sandbox names none.
const (
	SandboxMemory    = 1 << 30 // bytes
	SandboxDisk      = 1 << 30 // bytes
	SandboxProcesses = 256
)

// sandboxPathsMax is how many folders a Sandbox may add.
const sandboxPathsMax = 64

// Protection is one thing that a sandbox does, where the kernel can.
type Protection string

// The protections.
const (
	ProtectFiles     Protection = "files"     // only named folders can be read, and fewer written
	ProtectNetwork   Protection = "network"   // no sockets, and no calls that a program has no need of
	ProtectLimits    Protection = "limits"    // memory, disk, processor time and number of processes are limited
	ProtectProcesses Protection = "processes" // other processes are out of reach, and what was started ends with the program
)

// Protections lists them all. The caller owns the slice.
func Protections() []Protection {
	return []Protection{ProtectFiles, ProtectNetwork, ProtectLimits, ProtectProcesses}
}

// Access is what a program may do with the run's folder.
type Access string

// The kinds of access. "" is AccessRead.
const (
	AccessRead  Access = "read"
	AccessWrite Access = "write"
)

// Sandbox says what a program may reach and use. The zero value is the strictest: no network, the system's programs and libraries
// and the run's folder to read, a folder of its own to write, and the limits above.
type Sandbox struct {
	Off       bool            `json:"off,omitempty"`     // no sandbox: the program has the rights of the process
	Network   bool            `json:"network,omitempty"` // allows connections over IP, to any address
	Folder    Access          `json:"folder,omitempty"`
	Read      []string        `json:"read,omitempty"`      // absolute paths that may be read and executed as well
	Write     []string        `json:"write,omitempty"`     // absolute paths that may be read, executed and written as well
	Memory    int64           `json:"memory,omitempty"`    // bytes, of all processes together; 0 is SandboxMemory
	Disk      int64           `json:"disk,omitempty"`      // bytes, of one file and of its own folder; 0 is SandboxDisk
	CPU       polity.Duration `json:"cpu,omitempty"`       // processor time of each process, in whole seconds, rounded up; 0 is no limit but the time limit
	Processes int             `json:"processes,omitempty"` // processes and threads; 0 is SandboxProcesses
	// Require lists what must be protected: where the kernel cannot, the program is not started. Otherwise it is started with what the
	// kernel can.
	Require []Protection `json:"require,omitempty"`
}

// Check returns nil, or a fault.Invalid that says what is wrong.
func (s Sandbox) Check() error {
	if s.Memory < 0 || s.Disk < 0 || s.CPU < 0 || s.Processes < 0 {
		return fault.Invalid.New("sandbox: a limit is negative; leave it out for the default")
	}
	if s.Folder != "" && s.Folder != AccessRead && s.Folder != AccessWrite {
		return fault.Invalid.New("sandbox: folder %q: want read or write", s.Folder)
	}
	if len(s.Read)+len(s.Write) > sandboxPathsMax {
		return fault.Invalid.New("sandbox: read and write have more than %d paths", sandboxPathsMax)
	}
	for _, p := range slices.Concat(s.Read, s.Write) {
		if !filepath.IsAbs(p) || strings.ContainsRune(p, 0) {
			return fault.Invalid.New("sandbox: path %q: want an absolute path", p)
		}
	}
	for _, r := range s.Require {
		if !slices.Contains(Protections(), r) {
			return fault.Invalid.New("sandbox: require %q: want files, network, limits or processes", r)
		}
	}
	if s.Off && len(s.Require) > 0 {
		return fault.Invalid.New("sandbox: off, and %s is required: delete one of them", s.Require[0])
	}
	return nil
}
