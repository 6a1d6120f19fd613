//go:build !linux

package bustest

import "syscall"

// dying is for Linux alone: elsewhere a server outlives a test that is killed.
func dying() *syscall.SysProcAttr { return nil }
