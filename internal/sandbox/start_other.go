//go:build !linux

package sandbox

import (
	"os/exec"
	"runtime"

	"polity.run/tool"
)

// Support says what this kernel offers.
func Support() []Offer {
	var out []Offer
	for _, p := range tool.Protections() {
		out = append(out, Offer{p, false, runtime.GOOS + " has no sandbox for programs here"})
	}
	return out
}

func confined(cmd *exec.Cmd, _ Command, _ func(error)) error { return cmd.Run() }
