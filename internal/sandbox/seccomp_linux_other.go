//go:build linux && !amd64

package sandbox

// refusedHere are calls of refusedChanges that only this machine has.
var refusedHere []uint32
