//go:build !linux

package cli

import (
	"runtime"
	"syscall"
)

// kernel names the kernel and its release.
func kernel() (string, error) {
	release, err := syscall.Sysctl("kern.osrelease")
	return runtime.GOOS + " " + release, err
}
