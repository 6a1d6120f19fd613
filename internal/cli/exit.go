package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"polity.run/fault"
)

// The exit codes. rootHelp explains them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitDenied      = 4
	exitRunFailed   = 5
	exitConflict    = 6
	exitTimeout     = 7
	exitNotFound    = 8
	exitInterrupted = 130
)

// exitCodes maps every kind of fault to the exit code of a command that ends with it. How a run ended
// is another matter: see runFailed.
var exitCodes = map[fault.Kind]int{
	fault.Invalid:         exitUsage,
	fault.NotFound:        exitNotFound,
	fault.Conflict:        exitConflict,
	fault.Denied:          exitDenied,
	fault.Unauthenticated: exitDenied,
	fault.Exhausted:       exitFailure,
	fault.Timeout:         exitTimeout,
	fault.Cancelled:       exitInterrupted,
	fault.Unavailable:     exitFailure,
	fault.Unknown:         exitFailure,
	fault.Full:            exitFailure,
	fault.Fenced:          exitConflict,
	fault.Damaged:         exitFailure,
	fault.Erased:          exitNotFound,
	fault.Diverged:        exitFailure,
	fault.Failed:          exitFailure,
	fault.Internal:        exitFailure,
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// ended is a command that did what it was asked, about something that did not end well: the code says so, and
// text does if it is not empty.
type ended struct {
	code int
	text string
}

func (e ended) Error() string { return e.text }

// exitCode returns what an error means to the shell, and what is said of it.
func exitCode(err error) (code int, text string) {
	var usage usageError
	var end ended
	switch {
	case err == nil:
		return exitOK, ""
	case errors.As(err, &end):
		return end.code, end.text
	case errors.As(err, &usage):
		return exitUsage, cleanLines(err.Error())
	default:
		return exitCodes[fault.Of(err).Kind], cleanLines(err.Error())
	}
}

// choice is a flag with a few values.
type choice struct {
	value   string
	allowed []string
}

var _ pflag.Value = (*choice)(nil)

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.allowed, "|") }

func (c *choice) Set(text string) error {
	if !slices.Contains(c.allowed, text) {
		return fmt.Errorf("want %s%s", strings.Join(c.allowed, ", "), suggest(text, c.allowed))
	}
	c.value = text
	return nil
}

// outputFlag adds the flag -o. Its default is described by first.
func outputFlag(cmd *cobra.Command, first string, allowed ...string) *choice {
	c := &choice{allowed: allowed}
	cmd.Flags().VarP(c, "output", "o", "how to write the result; default "+first)
	return c
}

// flagError words a flag that cannot be understood.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usagef("%w\nSee: %s --help", err, cmd.CommandPath())
	}
	if strings.Contains(cmd.Use, "[FILTER") {
		err = fmt.Errorf("%w; before a filter that begins with - write --", err)
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	return usagef("%w%s\nSee: %s --help", err, suggest(unknown.GetSpecifiedName(), known), cmd.CommandPath())
}

// noSubcommand refuses what is no command of the group.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			known = append(known, c.Name())
		}
	}
	return usagef("there is no command %q%s\nSee: %s --help", cmd.CommandPath()+" "+args[0], suggest(args[0], known), cmd.CommandPath())
}

// args wraps cobra's checks of arguments: what they find is wrong usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%w\nUsage: %s", err, cmd.UseLine())
		}
		return nil
	}
}
