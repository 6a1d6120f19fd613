package sandbox

import (
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"polity.run/fault"
)

// Where the kernel puts what a filter looks at (struct seccomp_data). Arguments are read by their lower half, which
// is first: amd64 and arm64 are little-endian.
const (
	atNumber = 0
	atArch   = 4
	atFirst  = 16 // the first argument
	atSecond = 24
)

// x32 marks the numbers of calls of the x32 ABI of amd64.
const x32 = 0x40000000

// refused are calls that no program of an agent needs: those that reach around landlock, that keep memory which no limit counts, or
// that open up much of the kernel.
var refused = []uint32{
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_MEMFD_CREATE, unix.SYS_MEMFD_SECRET, unix.SYS_SHMGET, unix.SYS_MSGGET,
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_MOVE_MOUNT,
	unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_OPEN_BY_HANDLE_AT,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_QUOTACTL, unix.SYS_ACCT,
}

// refusedChanges change a file's mode, owner or attributes by its path. Landlock does not look at them, so a program could change files that
// it cannot open. By an open file they are allowed.
var refusedChanges = []uint32{
	unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWNAT,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_SETXATTRAT, unix.SYS_REMOVEXATTRAT, unix.SYS_FILE_SETATTR,
}

// families are what sockets may be of where the network is allowed. Sockets with a path are not among them: landlock does not
// look at connections to them, and behind one may be a service that does everything for its user.
var families = []uint32{unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

// filterArch returns what the kernel calls this machine, or false where there is no filter for it.
func filterArch() (uint32, bool) {
	switch runtime.GOARCH {
	case "amd64":
		return unix.AUDIT_ARCH_X86_64, true
	case "arm64":
		return unix.AUDIT_ARCH_AARCH64, true
	default:
		return 0, false
	}
}

// filterOffered returns nil, or why there can be no filter.
func filterOffered() error {
	if _, known := filterArch(); !known {
		return fault.Unavailable.New("no filter for %s", runtime.GOARCH)
	}
	action := uint32(unix.SECCOMP_RET_KILL_PROCESS)
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action))); errno != 0 {
		return errno
	}
	return nil
}

// filter returns the program that the kernel runs before each system call.
func filter(arch uint32, network bool) []unix.SockFilter {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		least = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		end   = unix.BPF_RET | unix.BPF_K
	)
	deny := func(errno uint32) unix.SockFilter {
		return unix.SockFilter{Code: end, K: unix.SECCOMP_RET_ERRNO | errno}
	}
	allow := unix.SockFilter{Code: end, K: unix.SECCOMP_RET_ALLOW}
	f := []unix.SockFilter{
		{Code: load, K: atArch},
		{Code: equal, K: arch, Jt: 1},
		{Code: end, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: load, K: atNumber},
		{Code: least, K: x32, Jf: 1},
		deny(uint32(unix.EPERM)),
	}
	for _, call := range slices.Concat(refused, refusedChanges, refusedHere) {
		f = append(f, unix.SockFilter{Code: equal, K: call, Jf: 1}, deny(uint32(unix.EPERM)))
	}
	// The limits of other processes are not its to change.
	f = append(f,
		unix.SockFilter{Code: equal, K: unix.SYS_PRLIMIT64, Jf: 4},
		unix.SockFilter{Code: load, K: atFirst},
		unix.SockFilter{Code: equal, K: 0, Jf: 1},
		allow,
		deny(uint32(unix.EPERM)))
	// Times are changed by an open file, and so without a path.
	f = append(f,
		unix.SockFilter{Code: equal, K: unix.SYS_UTIMENSAT, Jf: 6},
		unix.SockFilter{Code: load, K: atSecond},
		unix.SockFilter{Code: equal, K: 0, Jf: 3},
		unix.SockFilter{Code: load, K: atSecond + 4},
		unix.SockFilter{Code: equal, K: 0, Jf: 1},
		allow,
		deny(uint32(unix.EPERM)))
	f = append(f, unix.SockFilter{Code: equal, K: unix.SYS_SOCKET, Jt: 1}, allow)
	if network {
		f = append(f, unix.SockFilter{Code: load, K: atFirst})
		for _, family := range families {
			f = append(f, unix.SockFilter{Code: equal, K: family, Jf: 1}, allow)
		}
	}
	return append(f, deny(uint32(unix.EACCES)))
}

// install puts a filter before all system calls of the calling thread, and of what it will start, for good. It needs no_new_privs.
func install(f []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(f)
	if errno != 0 {
		return fault.Unavailable.New("sandbox: seccomp: %w", errno)
	}
	return nil
}
