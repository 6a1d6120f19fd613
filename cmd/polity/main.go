// Command polity runs organizations of agents that are declared in files. See polity help.
package main

import (
	"context"
	"os"

	"polity.run/internal/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
