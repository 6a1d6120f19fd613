package cli

import (
	"strings"
	"syscall"
)

// kernel names the kernel and its release.
func kernel() (string, error) {
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		return "", err
	}
	return charsText(u.Sysname[:]) + " " + charsText(u.Release[:]), nil
}

// charsText is a text of the C kind. Its characters are signed or not, as the machine has it.
func charsText[T int8 | uint8](chars []T) string {
	var b strings.Builder
	for _, c := range chars {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
}
