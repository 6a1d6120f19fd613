package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is what this program is.
type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`     // of the revision
	Modified bool   `json:"modified,omitempty"` // it was built with changes beyond the revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (a *app) newVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print what this program is", Args: args(cobra.NoArgs),
		Example: "  polity version\n  polity version -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(*cobra.Command, []string) error {
		info, ok := debug.ReadBuildInfo()
		if !ok {
			info = &debug.BuildInfo{}
		}
		v := versionOf(info)
		if output.value == "json" {
			return a.writeJSON(v)
		}
		text := "polity " + v.Version
		if v.Revision != "" {
			text += " (" + v.Revision
			if v.Modified {
				text += ", modified"
			}
			text += ")"
		}
		return a.outf("%s %s %s\n", text, v.Go, v.Platform)
	}
	return cmd
}

// versionOf reads what the go command wrote into the program.
func versionOf(info *debug.BuildInfo) version {
	v := version{Version: "(unknown)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// programVersion is this program's version in a word.
func programVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	return versionOf(info).Version
}
