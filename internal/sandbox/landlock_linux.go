package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"polity.run/fault"
	"polity.run/tool"
)

// What a landlock rule allows. A rule on a file may only hold what can be done with a file.
const (
	readFile  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE
	readAny   = readFile | unix.LANDLOCK_ACCESS_FS_READ_DIR
	writeFile = readFile | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	handled1  = 1<<13 - 1 // everything that the first landlock knew
)

// Versions of landlock's interface, and what each brought.
const (
	abiRefer    = 2
	abiTruncate = 3
	abiNet      = 4
	abiIoctl    = 5
	abiScope    = 6
)

// systemRead is what programs need of the system. Nothing in it is secret. What does not exist is passed over.
var systemRead = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store",
	"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld-musl-x86_64.path", "/etc/ld-musl-aarch64.path", "/etc/alternatives",
	"/etc/ssl", "/etc/pki/tls", "/etc/pki/ca-trust", "/etc/ca-certificates", "/etc/localtime", "/etc/timezone", "/etc/locale.alias",
	"/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/gitconfig", "/etc/mime.types", "/etc/os-release",
	"/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/version", "/proc/filesystems",
	"/proc/sys/kernel/osrelease", "/proc/sys/kernel/ostype", "/proc/sys/kernel/ngroups_max", "/proc/sys/kernel/cap_last_cap", "/proc/sys/vm/overcommit_memory",
	"/sys/devices/system/cpu", "/sys/kernel/mm/transparent_hugepage",
	"/dev/random", "/dev/urandom",
}

// networkRead is what programs need to find addresses.
var networkRead = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols"}

// systemWrite are devices that keep nothing.
var systemWrite = []string{"/dev/null", "/dev/zero", "/dev/full"}

// landlockABI returns the version of landlock's interface, or why there is none.
func landlockABI() (int, error) {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return int(v), nil
}

// ruleset is a landlock ruleset. Close it.
type ruleset struct {
	fd      int
	handled uint64
}

// newRuleset makes the ruleset of a command for a kernel whose landlock has the given version.
func newRuleset(c Command, program string, abi int) (*ruleset, error) {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: handled1}
	if abi >= abiRefer {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= abiTruncate {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= abiNet && !c.Sandbox.Network {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= abiIoctl {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= abiScope {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return nil, fault.Unavailable.New("sandbox: landlock: %w", errno)
	}
	r := &ruleset{int(fd), attr.Handled_access_fs}
	if err := r.fill(c, program); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *ruleset) fill(c Command, program string) error {
	system := systemRead
	if c.Sandbox.Network {
		system = slices.Concat(system, networkRead)
	}
	for _, p := range system {
		if err := r.allow(p, readAny); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	for _, p := range systemWrite {
		if err := r.allow(p, r.handled); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	type grant struct {
		path   string
		access uint64
	}
	grants := []grant{{c.Home, r.handled}}
	if _, err := os.Stat(program); err == nil { // that it is missing is for the start to say
		grants = append(grants, grant{program, readFile})
	}
	if c.Folder != "" {
		folder := grant{c.Folder, readAny}
		if c.Sandbox.Folder == tool.AccessWrite {
			folder.access = r.handled
		}
		grants = append(grants, folder)
	}
	for _, p := range c.Sandbox.Read {
		grants = append(grants, grant{p, readAny})
	}
	for _, p := range c.Sandbox.Write {
		grants = append(grants, grant{p, r.handled})
	}
	for _, g := range grants {
		if err := r.allow(g.path, g.access); err != nil {
			return err
		}
	}
	return nil
}

// allow allows access to a file, or to a folder and all below it.
func (r *ruleset) allow(path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault.Invalid.New("sandbox: path %s: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fault.Unavailable.New("sandbox: path %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= writeFile | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access & r.handled, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(r.fd), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fault.Unavailable.New("sandbox: landlock: %s: %w", path, errno)
	}
	return nil
}

// restrict restricts the calling thread, and what it will start, for good.
func (r *ruleset) restrict() error {
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(r.fd), 0, 0); errno != 0 {
		return fault.Unavailable.New("sandbox: landlock: %w", errno)
	}
	return nil
}

func (r *ruleset) close() error { return unix.Close(r.fd) }
