package sandbox

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"polity.run/fault"
)

// EndLeft ends the programs with a Home below dir that are stopped before their first instruction because the process that was starting them
// was killed. Such a program may have been made and not yet have asked to end with whoever made it; then it is stopped for ever. Call it
// when nothing starts programs with a Home there.
func EndLeft(dir string) error {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return fault.Unavailable.New("sandbox: what was left: %w", err)
	}
	for _, p := range all {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || !left(pid, dir) {
			continue
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fault.Denied.New("sandbox: end process %d, which was left: %w", pid, err)
		}
	}
	return nil
}

// left says whether a process is such a program. One that cannot be looked at is another user's, or has ended.
func left(pid int, dir string) bool {
	at := filepath.Join("/proc", strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(at, "status"))
	if err != nil || !bytes.Contains(status, []byte("\nState:\tt ")) {
		return false
	}
	env, err := os.ReadFile(filepath.Join(at, "environ"))
	if err != nil {
		return false
	}
	for text := range strings.SplitSeq(string(env), "\x00") {
		if home, is := strings.CutPrefix(text, "HOME="); is {
			return strings.HasPrefix(home, dir+string(filepath.Separator))
		}
	}
	return false
}
