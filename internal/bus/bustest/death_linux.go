package bustest

import "syscall"

// dying has a process killed when the one that started it ends.
func dying() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
