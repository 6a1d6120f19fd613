package cli

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"polity.run/client"
	"polity.run/fault"
)

// localContext is the name of this machine's own state folder.
const localContext = "local"

const (
	contextsMax  = 1 << 20 // bytes of the file of contexts
	tokenFileMax = 64 << 10
)

// address says which server is asked.
type address struct {
	Server    string `json:"server"`
	TokenFile string `json:"token_file,omitempty"`
	CAFile    string `json:"ca_file,omitempty"`
	context   string
}

func (a *app) addressFlags(flags *pflag.FlagSet) {
	flags.StringVar(&a.settingsFile, "config", "", "file of settings (default $POLITY_CONFIG or polity/polity.toml among your user's settings)")
	flags.StringVar(&a.at.Server, "server", "", "URL of a server to ask, as in https://polity.example.com:7654 (default the context's)")
	flags.StringVar(&a.at.TokenFile, "token-file", "", "file with the token for it, which only you may read")
	flags.StringVar(&a.at.CAFile, "ca-file", "", "file of the certificate that the server's is held against, PEM")
	flags.StringVar(&a.at.context, "context", "", "server by its name; local is the state folder (default what polity context use says)")
}

// elsewhere returns the server that is to be asked; nil for this machine's state folder. What a flag says goes before what the environment and the file of
// settings say: so --state means that folder, and --context that server.
func (a *app) elsewhere() (node, error) {
	at := a.at
	flagged := func(name string) bool { return a.sources[name] == "flag --"+name }
	switch {
	case flagged("server"):
	case flagged("context"):
		at.Server = ""
	case flagged("state"):
		return nil, nil
	}
	if at.Server == "" {
		named, err := a.namedContext()
		if err != nil || named == nil {
			return nil, err
		}
		at.Server = named.Server
		if !flagged("token-file") {
			at.TokenFile = named.TokenFile
		}
		if !flagged("ca-file") {
			at.CAFile = named.CAFile
		}
	}
	if at.TokenFile == "" {
		return nil, fault.Unauthenticated.New("server %s: a token is needed: --token-file names a file with one; polity access create makes one there", at.Server)
	}
	s := client.Server{URL: at.Server}
	token, err := readToken(at.TokenFile)
	if err != nil {
		return nil, err
	}
	s.Token = token
	if at.CAFile != "" {
		if s.CA, err = os.ReadFile(at.CAFile); err != nil {
			return nil, fault.NotFound.New("--ca-file: %w", err)
		}
	}
	c, err := client.Dial(s)
	if err != nil {
		return nil, err
	}
	return &remote{c}, nil
}

// namedContext is the context that is meant; nil for none.
func (a *app) namedContext() (*address, error) {
	name := a.at.context
	if name == localContext {
		return nil, nil
	}
	all, err := readContexts()
	if err != nil {
		return nil, err
	}
	if name == "" {
		if name = all.Current; name == "" || name == localContext {
			return nil, nil
		}
	}
	return all.find(name)
}

// readToken reads a file that only its user may read.
func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fault.NotFound.New("--token-file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fault.Denied.New("--token-file: %w", err)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return "", fault.Denied.New("--token-file: others may read %s (mode %04o): chmod 600 %s", path, info.Mode().Perm(), path)
	}
	data, err := io.ReadAll(io.LimitReader(f, tokenFileMax))
	token := strings.TrimSpace(string(data))
	if err != nil || token == "" || strings.ContainsAny(token, " \n\t") {
		return "", fault.Invalid.New("--token-file: %s does not hold one token", path)
	}
	return token, nil
}

// contexts are the servers that this user knows.
type contexts struct {
	Current  string             `json:"current,omitempty"`
	Contexts map[string]address `json:"contexts"`
}

func contextsFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fault.Invalid.New("contexts: %w", err)
	}
	return filepath.Join(dir, "polity", "contexts.json"), nil
}

// readContexts reads what is known; nothing, if nobody has added anything.
func readContexts() (contexts, error) {
	c := contexts{Contexts: map[string]address{}}
	path, err := contextsFile()
	if err != nil {
		return c, nil // there is no home, and so no file in it
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fault.Denied.New("contexts: %w", err)
	}
	defer f.Close()
	d := json.NewDecoder(io.LimitReader(f, contextsMax))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fault.Damaged.New("contexts: %s: %w", path, err)
	}
	if c.Contexts == nil {
		c.Contexts = map[string]address{}
	}
	return c, nil
}

func (c contexts) write() error {
	path, err := contextsFile()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fault.Denied.New("contexts: %w", err)
	}
	data, err := marshal(c)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fault.Denied.New("contexts: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fault.Denied.New("contexts: %w", err)
	}
	return nil
}

func (c contexts) find(name string) (*address, error) {
	at, ok := c.Contexts[name]
	if !ok {
		known := append(slices.Sorted(maps.Keys(c.Contexts)), localContext)
		return nil, fault.NotFound.New("there is no context %q among %s%s", name, strings.Join(known, ", "), suggest(name, known))
	}
	return &at, nil
}

const contextHelp = `Give servers names, and say which one commands ask.

Without a context, or with that named local, commands ask the process that serves the state folder, or are that process.
--server, POLITY_SERVER and --context go before what "use" says, and --state means the state folder.`

func (a *app) newContext() *cobra.Command {
	cmd := &cobra.Command{
		Use: "context", Short: "Name servers, and say which one is asked", Long: contextHelp, Args: noSubcommand, RunE: help,
		Example: "  polity context add prod https://polity.example.com:7654 --token-file ~/.config/polity/prod.token\n  polity context use prod\n  polity context use local",
	}
	cmd.AddCommand(a.newContextAdd(), a.newContextUse(), a.newContextList(), a.newContextRemove())
	return cmd
}

var contextName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

func (a *app) newContextAdd() *cobra.Command {
	return &cobra.Command{
		Use: "add NAME URL --token-file FILE", Short: "Give a server a name", Args: args(cobra.ExactArgs(2)),
		Long:    "Give a server a name. Its token stays in the file; --ca-file is for a server with a certificate of its own.",
		Example: "  polity context add prod https://polity.example.com:7654 --token-file prod.token --ca-file prod.pem",
		RunE: func(_ *cobra.Command, args []string) error {
			at := address{Server: args[1]}
			if !contextName.MatchString(args[0]) || args[0] == localContext {
				return usagef("%q cannot be the name of a context: want letters a-z, digits, dots and dashes, and not local", args[0])
			}
			for _, f := range []struct {
				to   *string
				path string
			}{{&at.TokenFile, a.at.TokenFile}, {&at.CAFile, a.at.CAFile}} {
				if f.path == "" {
					continue
				}
				abs, err := filepath.Abs(f.path)
				if err != nil {
					return fault.Invalid.New("%w", err)
				}
				*f.to = abs
			}
			if at.TokenFile == "" {
				return usagef("--token-file is missing: it names a file with the token for the server")
			}
			token, err := readToken(at.TokenFile)
			if err != nil {
				return err
			}
			if _, err := client.Dial(client.Server{URL: at.Server, Token: token}); err != nil {
				return err
			}
			all, err := readContexts()
			if err != nil {
				return err
			}
			all.Contexts[args[0]] = at
			return all.write()
		},
	}
}

func (a *app) newContextUse() *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Say which server is asked from now on", Args: args(cobra.ExactArgs(1)),
		Long: "Say which server is asked from now on; local is this machine's state folder.", Example: "  polity context use prod\n  polity context use local",
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := readContexts()
			if err != nil {
				return err
			}
			if args[0] != localContext {
				if _, err := all.find(args[0]); err != nil {
					return err
				}
			}
			all.Current = args[0]
			return all.write()
		},
	}
}

func (a *app) newContextList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List servers that have names", Long: "List servers that have names; * marks the one that is asked.", Args: args(cobra.NoArgs),
		Example: "  polity context list\n  polity context list -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(*cobra.Command, []string) error {
		all, err := readContexts()
		if err != nil {
			return err
		}
		if all.Current == "" {
			all.Current = localContext
		}
		if output.value == "json" {
			return a.writeJSON(all)
		}
		rows := [][]string{{"", "NAME", "SERVER", "TOKEN"}}
		add := func(name, server, token string) {
			mark := ""
			if name == all.Current {
				mark = "*"
			}
			rows = append(rows, []string{mark, clean(name), clean(server), clean(token)})
		}
		add(localContext, "the state folder", "")
		for _, name := range slices.Sorted(maps.Keys(all.Contexts)) {
			add(name, all.Contexts[name].Server, all.Contexts[name].TokenFile)
		}
		return a.out([]byte(table(rows)))
	}
	return cmd
}

func (a *app) newContextRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Forget a server's name", Long: "Forget a server's name. Its token's file stays.", Args: args(cobra.ExactArgs(1)),
		Example: "  polity context remove prod",
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := readContexts()
			if err != nil {
				return err
			}
			if _, err := all.find(args[0]); err != nil {
				return err
			}
			delete(all.Contexts, args[0])
			if all.Current == args[0] {
				all.Current = ""
				a.screen.say("note: local is asked from now on")
			}
			return all.write()
		},
	}
}
