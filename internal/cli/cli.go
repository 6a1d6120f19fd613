// Package cli is the command line of Polity.
//
// It exists so that a person or a script at a terminal can do what package engine does for a Go
// program. The life of a command:
//
//	arguments -> flags, checked -> a node: this process's own, or the one that serves the state folder
//	  -> data to stdout, everything else to stderr -> an exit code
//
// Every command returns an error and nothing else; what it means to the shell is decided in one table.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/model"
	"polity.run/trace"
)

// signalsMax is how many signals may wait to be looked at. Two are ever of interest.
const signalsMax = 8

// app is what the commands of one invocation share.
type app struct {
	stdin   io.Reader
	stdout  io.Writer
	screen  *screen // stderr
	signals chan os.Signal

	at            address           // of a server; the zero value for this machine's own state folder
	settingsFile  string            // file of settings
	sources       map[string]string // where each setting that is not a default comes from
	state         string
	keepLog       bool
	archives      string      // folder of archives; "" for the one in the state folder
	dsn           string      // of the view; "" for a file
	nats          engine.NATS // without a URL the log is in the state folder
	links         choice
	wrap          func(model.Model) model.Model // around every model; nil for none. The node is then this process's own
	agents        []*agent.Agent                // functions that are linked in
	sync          choice
	level, format choice // of the log
}

// Main runs one command and returns its exit code. It takes the process's signals for as long as it runs.
// Data goes to stdout, and to stderr everything that is said about it. Manifests may use the agents, which are linked in.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, agents ...*agent.Agent) int {
	a := &app{agents: agents, stdin: stdin, stdout: stdout, screen: newScreen(stderr), signals: make(chan os.Signal, signalsMax)}
	signal.Notify(a.signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signal.Notify(a.signals, syscall.SIGHUP)
	}
	defer signal.Stop(a.signals)
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return a.exit(root.ExecuteContext(ctx))
}

// exit reports an error and returns the exit code.
func (a *app) exit(err error) int {
	code, text := exitCode(err)
	if text != "" {
		a.screen.say("polity: %s", text)
	}
	return code
}

const rootHelp = `Polity runs organizations of agents that are declared in files.

A run is durable: started twice it is one run, interrupted it goes on where it was.

Exit codes:
  0    done; also a run that ended at a bound, with its best effort and a note
  1    failure
  2    wrong usage, or input that cannot be accepted
  4    denied
  5    the run failed, is stopped, or ended at a bound with nothing to show
  6    conflict with what is there already
  7    not in time
  8    not found
  130  interrupted or cancelled`

const rootExample = `  polity validate review.yaml
  polity run review.yaml "Is this ready for production?" --in ~/src/app
  polity runs list
  polity runs show 0-k3j2`

// root builds the tree of commands. A new command is one more line in its list.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "polity", Short: "Run organizations of agents", Long: rootHelp, Example: rootExample,
		SilenceErrors: true, SilenceUsage: true, Args: noSubcommand, RunE: help,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.state, "state", "", "folder that holds everything (default $XDG_STATE_HOME/polity or ~/.local/state/polity)")
	flags.StringVar(&a.archives, "archive-dir", "", "folder for archives of finished runs (default $POLITY_ARCHIVE_DIR or the folder archive in the state folder)")
	flags.BoolVar(&a.keepLog, "keep-log", false, "drop nothing of the log by itself: see polity state trim")
	a.sync = choice{value: string(engine.SyncDisk), allowed: []string{string(engine.SyncDisk), string(engine.SyncOS)}}
	flags.Var(&a.sync, "sync", "when a step is safe: once it is on the disk, or once the operating system has it")
	a.level = choice{value: "warn", allowed: []string{"debug", "info", "warn", "error"}}
	flags.Var(&a.level, "log-level", "what is logged to stderr, what runs do from info on (default $POLITY_LOG_LEVEL or warn)")
	a.format = choice{value: "text", allowed: []string{"text", "json"}}
	flags.Var(&a.format, "log-format", "how it is written (default $POLITY_LOG_FORMAT or text)")
	a.addressFlags(flags)
	root.PersistentPreRunE = a.prepare
	flags.StringVar(&a.dsn, "view-dsn", "", "PostgreSQL database to keep the view in, as postgres://user@host/database (default $POLITY_VIEW_DSN, or a file in the state folder)")
	a.natsFlags(flags)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(a.newHelp())
	root.AddCommand(
		a.newNew(),
		a.newUp(), a.newReady(), a.newWebhooks(),
		a.newConsole(), a.newAccess(), a.newContext(), a.newConfig(),
		a.newApply(), a.newDiff(), a.newGet(), a.newDescribe(), a.newDelete(),
		a.newRun(),
		a.newRuns(),
		a.newSearch(),
		a.newEvents(),
		a.newCosts(),
		a.newAgents(),
		a.newApprovals(),
		a.newWatch(), a.newTopics(),
		a.newInstall(), a.newSend(), a.newAsk(), a.newPublish(), a.newListen(), a.newMailbox(), a.newInstances(), a.newMessages(), a.newDead(),
		a.newTest(),
		a.newTools(),
		a.newModels(),
		a.newMemory(),
		a.newErase(),
		a.newKeys(),
		a.newState(),
		a.newLocks(),
		a.newBus(),
		a.newEffects(),
		a.newView(),
		a.newGraph(),
		a.newDoctor(),
		a.newVerify(),
		a.newArchive(),
		a.newBackup(),
		a.newRestore(),
		a.newValidate(),
		a.newSchema(),
		a.newSchemas(),
		a.newBench(),
		a.newVersion(),
	)
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" { // cobra's own takes any word for a shell
			c.Args, c.RunE = noSubcommand, help
			c.Example = "  polity completion bash > /etc/bash_completion.d/polity\n  polity completion zsh > \"${fpath[1]}/_polity\""
		}
	}
	return root
}

// help is what a command does that only groups others.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// newHelp is cobra's help, but an unknown topic is an error.
func (a *app) newHelp() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND...]", Short: "Explain a command", Example: "  polity help run\n  polity help runs list",
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil {
				return usagef("%w", err)
			}
			if len(rest) > 0 {
				return noSubcommand(found, rest)
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

// prepare takes from the environment and the file of settings what no flag says: settings, and where in a trace the command is given.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	if err := a.settle(cmd); err != nil {
		return err
	}
	place, err := trace.FromEnviron()
	cmd.SetContext(a.placed(cmd.Context(), place, err))
	return nil
}

// placed returns a context at a place in a trace. One that is malformed is none, as the standard wants it.
func (a *app) placed(ctx context.Context, place trace.Context, err error) context.Context {
	if err != nil {
		a.logger().Debug("the caller's trace is not continued", "error", err)
	}
	if !place.Valid() {
		return ctx
	}
	return trace.With(ctx, place)
}

// logger logs to stderr.
func (a *app) logger() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.level.value)); err != nil {
		panic("cli: a log level that slog does not know: " + err.Error()) // they are in a list above
	}
	options := &slog.HandlerOptions{Level: level}
	if a.format.value == "json" {
		return slog.New(slog.NewJSONHandler(a.screen, options))
	}
	return slog.New(slog.NewTextHandler(a.screen, options))
}

// stateDir is the state folder.
func (a *app) stateDir() (string, error) {
	if a.state != "" {
		return a.state, nil
	}
	return engine.StateDir()
}

// interruptible returns a context that ends with the first signal, for commands that have nothing to
// wind up. Call the function when the command is done.
func (a *app) interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		select {
		case s := <-a.signals:
			cancel(fault.Cancelled.New("%s", s))
		case <-done:
		}
	}()
	return ctx, func() { close(done); cancel(nil) }
}

// out writes data.
func (a *app) out(data []byte) error {
	if _, err := a.stdout.Write(data); err != nil {
		return fault.Unavailable.New("write the output: %w", err)
	}
	return nil
}

func (a *app) outf(format string, args ...any) error { return a.out(fmt.Appendf(nil, format, args...)) }

// close ends something and keeps the first error.
func closeInto(err *error, c io.Closer) { *err = errors.Join(*err, c.Close()) }
