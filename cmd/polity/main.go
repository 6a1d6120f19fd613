// Command polity runs organizations of agents that are declared in files. See polity help.
package main

import (
	"context"
	"os"
	"runtime/debug"
	_ "time/tzdata" // for schedules in a zone, on machines that know none

	"polity.run/internal/cli"
)

// collectAt lets the heap grow to four times of what is alive before garbage is collected: what is alive is small (some ten
// megabytes), and collecting at twice of it costs a tenth of the throughput under load. GOGC in the environment wins.
const collectAt = 300

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
