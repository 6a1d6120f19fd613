package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"polity.run/agent"
	"polity.run/fault"
	"polity.run/manifest"
)

func (a *app) newValidate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "validate MANIFEST...", Short: "Check manifests and list everything that is wrong",
		Long:    "Check manifests and list everything that is wrong in them. Nothing is run.\n\nThe exit code is 2 if a manifest cannot be accepted.",
		Example: "  polity validate review.yaml\n  polity validate teams/* -o json", Args: args(cobra.MinimumNArgs(1)),
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(_ *cobra.Command, paths []string) error {
		env, err := a.environment()
		if err != nil {
			return err
		}
		list := make([]validation, len(paths))
		for i, path := range paths {
			list[i] = validate(path, env)
		}
		halves(list)
		if output.value == "json" {
			err = a.writeJSON(list)
		} else {
			err = a.printValidations(list)
		}
		if err != nil {
			return err
		}
		return worst(list)
	}
	return cmd
}

// validation is what was found in a manifest.
type validation struct {
	Manifest string             `json:"manifest"`
	Valid    bool               `json:"valid"`
	Release  string             `json:"release,omitempty"` // its digest
	Agents   int                `json:"agents,omitempty"`
	Problems []manifestProblem  `json:"problems"`
	Warnings []manifestProblem  `json:"warnings"`
	Fault    *fault.Error       `json:"fault,omitempty"` // why it could not be looked at
	found    manifest.Problems  // as text
	odd      []manifest.Problem // as text
	release  *agent.Release
}

// halves warns of links between two organizations that only one of them has, where both manifests were given.
func halves(list []validation) {
	of := map[string]*agent.Release{}
	for _, v := range list {
		if v.release != nil {
			of[v.release.Name] = v.release
		}
	}
	for i := range list {
		v := &list[i]
		if v.release == nil {
			continue
		}
		for _, c := range v.release.Crossings() {
			from, to, other := of[c.From.Org], of[c.To.Org], c.To.Org
			if other == v.release.Name {
				other = c.From.Org
			}
			if from == nil || to == nil || agent.Cross(from, c.From.Agent, to, c.To.Agent) {
				continue
			}
			p := manifest.Problem{
				File: v.Manifest, Path: "messages.links", Text: fmt.Sprintf("the link from %s to %s does not hold: %s does not have it", c.From, c.To, other),
				Fix: fmt.Sprintf("write it in the manifest of %s, too", other),
			}
			v.odd = append(v.odd, p)
			v.Warnings = append(v.Warnings, problems([]manifest.Problem{p})...)
		}
	}
}

// manifestProblem is a manifest.Problem as JSON.
type manifestProblem struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Path   string `json:"path,omitempty"`
	Text   string `json:"text"`
	Fix    string `json:"fix,omitempty"`
}

func validate(path string, env manifest.Env) validation {
	v := validation{Manifest: path, Problems: []manifestProblem{}, Warnings: []manifestProblem{}}
	m, err := manifest.Load(path, env)
	if err != nil {
		if !errors.As(err, &v.found) {
			v.Fault = fault.Of(err)
			return v
		}
		v.Problems = problems(v.found)
		return v
	}
	v.odd, v.Warnings = m.Warnings, problems(m.Warnings)
	v.Agents = len(m.Release.Agents)
	if v.Release, _, err = manifest.Digest(&m.Release); err != nil {
		v.Fault = fault.Of(err)
		return v
	}
	v.Valid, v.release = true, &m.Release
	return v
}

func problems(list []manifest.Problem) []manifestProblem {
	out := make([]manifestProblem, len(list))
	for i, p := range list {
		out[i] = manifestProblem{p.File, p.Line, p.Column, p.Path, p.Text, p.Fix}
	}
	return out
}

// printValidations says which manifests are right on stdout, and what is wrong on stderr.
func (a *app) printValidations(list []validation) error {
	for _, v := range list {
		for _, p := range v.odd {
			a.screen.say("warning: %s", cleanLines(p.String()))
		}
		for _, p := range v.found {
			a.screen.say("%s", cleanLines(p.String()))
		}
		if v.Fault != nil {
			a.screen.say("%s: %s", clean(v.Manifest), clean(v.Fault.Text))
		}
		if !v.Valid {
			continue
		}
		if err := a.outf("%s: valid: %s, release %.12s\n", clean(v.Manifest), count(v.Agents, "agent"), v.Release); err != nil {
			return err
		}
	}
	return nil
}

// worst is the exit code of what was found first; everything was said already.
func worst(list []validation) error {
	for _, v := range list {
		switch {
		case v.Fault != nil:
			return ended{code: exitCodes[v.Fault.Kind]}
		case !v.Valid:
			return ended{code: exitCodes[fault.Invalid]}
		}
	}
	return nil
}

func (a *app) newSchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of manifests, for editors",
		Example: "  polity schema > polity.schema.json\n  # then, as the first line of a manifest:\n  # yaml-language-server: $schema=polity.schema.json",
		Args:    args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			data, err := manifest.Schema()
			if err != nil {
				return err
			}
			return a.outf("%s\n", data)
		},
	}
}
