package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/agent"
	"polity.run/client"
	"polity.run/manifest"
)

const applyHelp = `Install the organizations of manifests, or new versions of them.

A manifest is a file, or a folder: with polity.yaml, with other *.yaml that begin with "polity:" (scenarios do not count),
and one folder deep the same. All are checked before one is applied. What runs already goes on with the version that it began with.

Each change of an organization counts its revision up. With --if-revision it is changed only if it stands at that one, 0 for not
installed; else somebody else was first, and the exit code is 6.`

func (a *app) newApply() *cobra.Command {
	cmd := &cobra.Command{
		Use: "apply MANIFEST...", Short: "Install organizations, or new versions of them", Long: applyHelp, Args: args(cobra.MinimumNArgs(1)),
		Example: "  polity apply review.yaml\n  polity apply teams -o json\n  polity apply review.yaml --if-revision 3",
	}
	known := revisionFlag(cmd)
	output := outputFlag(cmd, "text", "text", "json", "yaml")
	output.value = "text"
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		all, err := a.loadAll(paths)
		if err != nil {
			return err
		}
		if known() != nil && len(all) != 1 {
			return usagef("--if-revision goes with one manifest")
		}
		var done []client.Applied
		err = a.withNode(cmd.Context(), a.connect, func(ctx context.Context, n node) error {
			done = nil
			for _, m := range all {
				one, err := n.Apply(ctx, client.Apply{Install: client.Install{Release: &m.Release, Files: m.Blobs}, Revision: known()})
				if err != nil {
					return fmt.Errorf("%s: %w", m.Path, err)
				}
				done = append(done, one)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if output.value != "text" {
			return a.write(output.value, map[string]any{"applied": done})
		}
		for i := range done {
			if err := a.outf("%s\n", appliedText(&done[i])); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// appliedText says what became of an organization.
func appliedText(d *client.Applied) string {
	word := "unchanged"
	if d.Changed {
		word = "applied"
	}
	return fmt.Sprintf("%s: %s, revision %d, release %.12s", clean(d.Org.Name), word, d.Org.Revision, d.Org.Release)
}

// revisionFlag adds the flag --if-revision.
func revisionFlag(cmd *cobra.Command) func() *uint64 {
	n := cmd.Flags().Uint64("if-revision", 0, "only if the organization stands at this revision, 0 for not installed")
	return func() *uint64 {
		if !cmd.Flags().Changed("if-revision") {
			return nil
		}
		return n
	}
}

// write writes a value as JSON or YAML.
func (a *app) write(format string, v any) error {
	if format != "yaml" {
		return a.writeJSON(v)
	}
	data, err := manifest.YAML(v)
	if err != nil {
		return err
	}
	return a.out(data)
}

const orgDiffHelp = `Say what applying a manifest would change: which agents, tools and settings would be added, changed or taken away.

The exit code is 1 if there is a difference.`

func (a *app) newDiff() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff MANIFEST...", Short: "Say what applying manifests would change", Long: orgDiffHelp, Args: args(cobra.MinimumNArgs(1)),
		Example: "  polity diff review.yaml\n  polity diff teams -o json",
	}
	output := outputFlag(cmd, "text", "text", "json", "yaml")
	output.value = "text"
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		all, err := a.loadAll(paths)
		if err != nil {
			return err
		}
		var found []orgDiff
		err = a.withNode(cmd.Context(), a.connect, func(ctx context.Context, n node) error {
			found = nil
			for _, m := range all {
				d, err := diffOrg(ctx, n, m)
				if err != nil {
					return err
				}
				found = append(found, d)
			}
			return nil
		})
		if err != nil {
			return err
		}
		return a.printOrgDiffs(found, output.value)
	}
	return cmd
}

// orgDiff is what applying a manifest would change.
type orgDiff struct {
	Org      string      `json:"org"`
	Revision uint64      `json:"revision"` // that stands; 0 for none
	Changes  []orgChange `json:"changes"`
}

// orgChange is one place of a release.
type orgChange struct {
	Path string          `json:"path"`
	From json.RawMessage `json:"from,omitempty"` // nothing: it would be added
	To   json.RawMessage `json:"to,omitempty"`   // nothing: it would be taken away
}

func diffOrg(ctx context.Context, n node, m *manifest.Manifest) (orgDiff, error) {
	d := orgDiff{Org: m.Release.Name, Changes: []orgChange{}}
	stands, err := n.Orgs(ctx, client.OrgQuery{})
	if err != nil {
		return d, err
	}
	i := slices.IndexFunc(stands.Orgs, func(o polity.Org) bool { return o.Name == d.Org })
	if i < 0 {
		to, err := json.Marshal(m.Release.Main)
		d.Changes = append(d.Changes, orgChange{Path: "organization", To: to})
		return d, err
	}
	d.Revision = stands.Orgs[i].Revision
	with, err := n.Orgs(ctx, client.OrgQuery{Name: d.Org, Release: true})
	if err != nil {
		return d, err
	}
	from, err := tidy(with.Release)
	if err != nil {
		return d, err
	}
	to, err := tidy(&m.Release)
	if err != nil {
		return d, err
	}
	return d, compare(&d.Changes, "", from, to)
}

// tidy is a release as JSON, in which lists of what has names are objects: so that what moved has not changed.
func tidy(r *agent.Release) (any, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return named(v), nil
}

func named(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = named(v[k])
		}
	case []any:
		byName := map[string]any{}
		for _, e := range v {
			o, ok := e.(map[string]any)
			name, is := o["name"].(string)
			if !ok || !is || byName[name] != nil {
				return v
			}
			byName[name] = named(o)
		}
		if len(v) > 0 {
			return byName
		}
	}
	return v
}

// compare adds the places at which two values differ, in order.
func compare(list *[]orgChange, path string, from, to any) error {
	a, isA := from.(map[string]any)
	b, isB := to.(map[string]any)
	if isA && isB {
		names := slices.Collect(maps.Keys(a))
		for name := range b {
			if _, both := a[name]; !both {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			under := strings.TrimPrefix(path+"."+name, ".")
			if err := compare(list, under, a[name], b[name]); err != nil {
				return err
			}
		}
		return nil
	}
	if reflect.DeepEqual(from, to) {
		return nil
	}
	c := orgChange{Path: path}
	var err error
	if from != nil {
		c.From, err = json.Marshal(from)
	}
	if to != nil && err == nil {
		c.To, err = json.Marshal(to)
	}
	*list = append(*list, c)
	return err
}

func (a *app) printOrgDiffs(found []orgDiff, format string) error {
	differ := slices.ContainsFunc(found, func(d orgDiff) bool { return len(d.Changes) > 0 })
	if format != "text" {
		if err := a.write(format, map[string]any{"diffs": found}); err != nil {
			return err
		}
	}
	for i := range found {
		if format != "text" {
			break
		}
		if err := a.outf("%s", orgDiffText(&found[i])); err != nil {
			return err
		}
	}
	if differ {
		return ended{code: exitFailure}
	}
	return nil
}

func orgDiffText(d *orgDiff) string {
	var b strings.Builder
	switch {
	case d.Revision == 0:
		return fmt.Sprintf("%s: not installed\n", clean(d.Org))
	case len(d.Changes) == 0:
		return fmt.Sprintf("%s: the same as revision %d\n", clean(d.Org), d.Revision)
	}
	fmt.Fprintf(&b, "%s: %s to revision %d\n", clean(d.Org), count(len(d.Changes), "change"), d.Revision)
	for _, c := range d.Changes {
		from, to := clean(shorten(string(c.From), diffTextMax)), clean(shorten(string(c.To), diffTextMax))
		switch {
		case c.From == nil:
			fmt.Fprintf(&b, "+ %s: %s\n", clean(c.Path), to)
		case c.To == nil:
			fmt.Fprintf(&b, "- %s: %s\n", clean(c.Path), from)
		default:
			fmt.Fprintf(&b, "~ %s: %s -> %s\n", clean(c.Path), from, to)
		}
	}
	return b.String()
}

func (a *app) newGet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get [ORG]", Short: "List installed organizations, or get the release of one",
		Long:    "List the organizations that are installed, with revision, release and who applied it. Of one, -o json and -o yaml give the whole release.",
		Example: "  polity get\n  polity get review -o yaml", Args: args(cobra.MaximumNArgs(1)),
	}
	output := outputFlag(cmd, "text", "text", "json", "yaml")
	output.value = "text"
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var q client.OrgQuery
		if len(args) == 1 {
			q = client.OrgQuery{Name: args[0], Release: output.value != "text"}
		}
		answer, err := a.orgs(cmd.Context(), q)
		switch {
		case err != nil:
			return err
		case q.Name != "" && output.value != "text":
			return a.write(output.value, map[string]any{"org": answer.Orgs[0], "release": answer.Release})
		case output.value != "text":
			return a.write(output.value, map[string]any{"orgs": answer.Orgs})
		case len(answer.Orgs) == 0:
			a.screen.say("no organization is installed; polity apply does that")
			return nil
		}
		rows := [][]string{{"ORG", "REVISION", "RELEASE", "AGENTS", "APPLIED", "BY"}}
		for _, o := range answer.Orgs {
			applied := ""
			if !o.Applied.IsZero() {
				applied = moment(o.Applied)
			}
			rows = append(rows, []string{clean(o.Name), fmt.Sprint(o.Revision), fmt.Sprintf("%.12s", o.Release), fmt.Sprint(len(o.Agents)), applied, clean(o.By)})
		}
		return a.out([]byte(table(rows)))
	}
	return cmd
}

// orgs asks whichever node there is for organizations.
func (a *app) orgs(ctx context.Context, q client.OrgQuery) (answer client.Orgs, err error) {
	err = a.withNode(ctx, a.connect, func(ctx context.Context, n node) error {
		answer, err = n.Orgs(ctx, q)
		return err
	})
	return answer, err
}

func (a *app) newDescribe() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe ORG", Short: "Describe an installed organization: its agents, and what to do next",
		Long:    "Describe an installed organization: its agents with kinds, skills and tools, and what to do next.",
		Example: "  polity describe review\n  polity describe review -o yaml", Args: args(cobra.ExactArgs(1)),
	}
	output := outputFlag(cmd, "text", "text", "json", "yaml")
	output.value = "text"
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		answer, err := a.orgs(cmd.Context(), client.OrgQuery{Name: args[0], Release: true})
		if err != nil {
			return err
		}
		d := described(&answer)
		if output.value != "text" {
			return a.write(output.value, d)
		}
		return a.out([]byte(describedText(d)))
	}
	return cmd
}

// description is what is said of an organization.
type description struct {
	polity.Org
	Members []member     `json:"members"`
	Hooks   []agent.Hook `json:"hooks,omitempty"`
}

type member struct {
	Name   polity.AgentName `json:"name"`
	Kind   string           `json:"kind"`
	Skills []string         `json:"skills"`
	Tools  []string         `json:"tools,omitempty"`
}

func described(a *client.Orgs) *description {
	d := &description{Org: a.Orgs[0], Hooks: a.Release.Hooks}
	for i := range a.Release.Agents {
		def := &a.Release.Agents[i]
		m := member{Name: def.Name, Kind: string(def.Kind), Skills: []string{}}
		for _, s := range def.Skills {
			m.Skills = append(m.Skills, s.Name)
		}
		if def.Model == nil {
			d.Members = append(d.Members, m)
			continue
		}
		for _, t := range def.Model.Tools {
			m.Tools = append(m.Tools, t.Name)
		}
		d.Members = append(d.Members, m)
	}
	return d
}

func describedText(d *description) string {
	var b strings.Builder
	fmt.Fprintf(&b, "organization %s\nrevision     %d\nrelease      %s\nasked        %s\n", clean(d.Name), d.Revision, d.Release, clean(d.Main))
	if !d.Applied.IsZero() {
		fmt.Fprintf(&b, "applied      %s by %s\n", moment(d.Applied), clean(d.By))
	}
	rows := [][]string{{"AGENT", "KIND", "SKILLS", "TOOLS"}}
	for _, m := range d.Members {
		rows = append(rows, []string{clean(string(m.Name)), clean(m.Kind), clean(strings.Join(m.Skills, ", ")), clean(strings.Join(m.Tools, ", "))})
	}
	b.WriteString("\n" + table(rows))
	if len(d.Hooks) > 0 {
		rows := [][]string{{"WEBHOOK", "AGENT", "ADDRESS", "SECRET"}}
		for _, h := range d.Hooks {
			rows = append(rows, []string{clean(h.Name), clean(cmp.Or(string(h.Agent), d.Main)), clean("/v1/hooks/" + d.Name + "." + h.Name + "/in"), clean("$" + h.SecretEnv)})
		}
		b.WriteString("\n" + table(rows))
	}
	fmt.Fprintf(&b, "\nnext: polity ask %s \"...\"\n      polity runs list agent:%s\n", clean(d.Main), clean(d.Main))
	return b.String()
}

func (a *app) newDelete() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete ORG", Short: "Remove an installed organization",
		Long:    "Remove an installed organization: nothing new comes to its agents. Its runs go on, and they and its memory stay;\npolity runs delete and polity erase delete those.",
		Example: "  polity delete review\n  polity delete review --if-revision 3", Args: args(cobra.ExactArgs(1)),
	}
	known := revisionFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withNode(cmd.Context(), a.connect, func(ctx context.Context, n node) error {
			if err := n.Remove(ctx, client.Remove{Name: args[0], Revision: known()}); err != nil {
				return err
			}
			return a.outf("%s: removed\n", clean(args[0]))
		})
	}
	return cmd
}
