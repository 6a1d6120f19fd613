package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"polity.run/fault"
	"polity.run/internal/config"
)

// settings are the flags that stand for themselves in the environment and in the file of settings, too.
var settings = []string{
	"state", "sync", "archive-dir", "view-dsn", "log-level", "log-format",
	"server", "context", "token-file", "ca-file",
	"listen", "host", "tls", "tls-cert", "tls-key", "agents-listen", "at-once",
	"oidc-issuer", "oidc-audience", "oidc-name-claim", "oidc-grant",
	"nats", "nats-creds", "nats-nkey", "nats-user", "nats-ca", "nats-cert", "nats-key", "nats-domain", "links",
}

// secretSettings are those whose values are not shown: a password may be in them.
var secretSettings = map[string]bool{"view-dsn": true}

// variable is the environment's name of a setting.
func variable(name string) string {
	return "POLITY_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// inFile is the name of a setting in the file.
func inFile(name string) string { return strings.ReplaceAll(name, "-", "_") }

// settle gives each setting that no flag says what the environment says, or else the file.
func (a *app) settle(cmd *cobra.Command) error {
	file, values, err := a.configFile(cmd)
	if err != nil {
		return err
	}
	a.sources = map[string]string{}
	for _, name := range settings {
		f := cmd.Flags().Lookup(name)
		if f == nil {
			continue
		}
		text, set := os.LookupEnv(variable(name))
		inFile, filed := values[inFile(name)]
		switch {
		case f.Changed:
			a.sources[name] = "flag --" + name
		case set && text != "":
			a.sources[name] = "environment " + variable(name)
			given := []string{text}
			if f.Value.Type() == "stringArray" {
				given = strings.Split(text, ",")
			}
			if err := give(f, given); err != nil {
				return usagef("the environment variable %s is %q: %w", variable(name), display(name, text), err)
			}
		case filed:
			a.sources[name] = fmt.Sprintf("%s:%d", file, inFile.Line)
			if err := give(f, inFile.Values); err != nil {
				return usagef("%s:%d: %s: %w", file, inFile.Line, name, err)
			}
		}
	}
	return nil
}

// give sets a flag, as if the command line did.
func give(f *pflag.Flag, values []string) error {
	if f.Value.Type() != "stringArray" && len(values) != 1 {
		return errors.New("want one value")
	}
	for _, v := range values {
		if err := f.Value.Set(v); err != nil {
			return err
		}
	}
	return nil
}

// configFile reads the file of settings, if there is one.
func (a *app) configFile(cmd *cobra.Command) (string, map[string]config.Setting, error) {
	path := a.settingsFile
	if !cmd.Flags().Changed("config") {
		path = os.Getenv("POLITY_CONFIG")
	}
	named := path != ""
	if !named {
		dir, err := os.UserConfigDir()
		if err != nil {
			return "", nil, nil // there is no home, and so no file in it
		}
		path = filepath.Join(dir, "polity", "polity.toml")
	}
	known := make([]string, len(settings))
	for i, name := range settings {
		known[i] = inFile(name)
	}
	values, err := config.Read(path, known)
	if errors.Is(err, fault.NotFound) && !named {
		return path, nil, nil
	}
	return path, values, err
}

func display(name, value string) string {
	if secretSettings[name] && value != "" {
		return "(hidden)"
	}
	return value
}

func (a *app) newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Settings, and where they come from", Args: noSubcommand, RunE: help,
		Long:    "Settings, and where they come from.",
		Example: "  polity config explain",
	}
	cmd.AddCommand(a.newConfigExplain())
	return cmd
}

const configExplainHelp = `Say what each setting is, and where that comes from.

A setting is given by a flag, as in --log-level; else by the environment, as in POLITY_LOG_LEVEL; else by the file, as in log_level = "info";
else it has its default. The file is that of --config or POLITY_CONFIG, or polity/polity.toml in the folder for settings of your user
($XDG_CONFIG_HOME or ~/.config), if there is one. What it has that is no setting is an error.`

func (a *app) newConfigExplain() *cobra.Command {
	u := &server{app: a}
	cmd := &cobra.Command{
		Use: "explain [SETTING...]", Short: "Say what each setting is, and where that comes from", Long: configExplainHelp,
		Example:   "  polity config explain\n  polity config explain listen --config /etc/polity/polity.toml -o json",
		ValidArgs: settings,
	}
	u.flags(cmd)
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var list []explained
		for _, name := range args {
			if cmd.Flags().Lookup(name) == nil || !isSetting(name) {
				return fault.NotFound.New("there is no setting %q%s", name, suggest(name, settings))
			}
			list = append(list, a.explain(cmd, name))
		}
		if len(args) == 0 {
			for _, name := range settings {
				list = append(list, a.explain(cmd, name))
			}
		}
		if output.value == "json" {
			return a.writeJSON(map[string]any{"settings": list})
		}
		rows := [][]string{{"SETTING", "VALUE", "FROM", "WHAT IT IS"}}
		for _, e := range list {
			rows = append(rows, []string{e.Name, clean(e.Value), clean(e.From), clean(e.About)})
		}
		return a.out([]byte(table(rows)))
	}
	return cmd
}

func isSetting(name string) bool {
	for _, s := range settings {
		if s == name {
			return true
		}
	}
	return false
}

// explained is a setting.
type explained struct {
	Name     string `json:"name"`
	Value    string `json:"value"`
	From     string `json:"from"` // the flag, the variable, the line of the file, or default
	About    string `json:"about"`
	Variable string `json:"variable"`
	InFile   string `json:"in_file"`
}

func (a *app) explain(cmd *cobra.Command, name string) explained {
	f := cmd.Flags().Lookup(name)
	e := explained{Name: name, Value: display(name, f.Value.String()), From: "default", About: f.Usage, Variable: variable(name), InFile: inFile(name)}
	if from := a.sources[name]; from != "" {
		e.From = from
	}
	return e
}
