// Command polity is the program of the same name with a script linked in, as a program of a user has: package chaos disturbs it.
package main

import (
	"context"
	"fmt"
	"os"

	"polity.run/internal/chaos/journey"
	"polity.run/internal/cli"
)

func main() {
	a, err := journey.Agent()
	if err != nil {
		fmt.Fprintln(os.Stderr, "polity:", err)
		os.Exit(1)
	}
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, a))
}
