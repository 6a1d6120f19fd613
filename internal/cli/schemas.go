package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"polity.run/client"
	"polity.run/contract"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/schema"
)

const schemasHelp = `List, show, compare, check and register the schemas that others rely on: of event types, as
orders.placed, and of what skills are asked and answer, as skill:critic/review/in.

A subject has versions, and a mode that says which changes a new version may make:

  backward  readers of the new version read data of the old one: upgrade readers first
  forward   readers of the old version read data of the new one: upgrade writers first
  full      both: in any order
  none      any change

Each but none also as backward_transitive and so on: compared with all versions, not with
the last alone.

With --dir the registry is a folder of files, as schemas beside a manifest, and no node is
needed; without it, it is that of the node of the state folder, which refuses releases that
break what is registered.`

const schemaFileMax = schema.SchemaMax // bytes of a file with a schema or with data

// registry is where subjects are kept: in a folder, or on a node.
type registry interface {
	subjects(ctx context.Context, names ...string) ([]contract.Subject, error)
	register(ctx context.Context, q contract.Registration) (*contract.Subject, error)
}

type onNode struct{ node node }

func (r onNode) subjects(ctx context.Context, names ...string) ([]contract.Subject, error) {
	answer, err := r.node.Schemas(ctx, client.SchemaQuery{Names: names})
	return answer.Subjects, err
}

func (r onNode) register(ctx context.Context, q contract.Registration) (*contract.Subject, error) {
	answer, err := r.node.Schemas(ctx, client.SchemaQuery{Register: &q})
	if err != nil {
		return nil, err
	}
	return &answer.Subjects[0], nil
}

type inFolder struct{ folder *contract.Folder }

func (r inFolder) subjects(_ context.Context, names ...string) ([]contract.Subject, error) {
	if len(names) == 0 {
		return r.folder.List()
	}
	var out []contract.Subject
	for _, name := range names {
		s, err := r.folder.Subject(name)
		if err != nil {
			return nil, err
		}
		out = append(out, *s)
	}
	return out, nil
}

func (r inFolder) register(_ context.Context, q contract.Registration) (*contract.Subject, error) {
	return r.folder.Register(q)
}

// withRegistry does something with the registry that is meant.
func (a *app) withRegistry(ctx context.Context, dir string, find func(context.Context) (node, error), do func(ctx context.Context, r registry) error) error {
	if dir != "" {
		return do(ctx, inFolder{contract.OpenFolder(dir)})
	}
	return a.withNode(ctx, find, func(ctx context.Context, n node) error { return do(ctx, onNode{n}) })
}

func dirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "", "the registry in this folder, and not the node's")
}

func (a *app) newSchemas() *cobra.Command {
	cmd := &cobra.Command{
		Use: "schemas", Short: "Register schemas and check what changes of them break", Long: schemasHelp,
		Example: "  polity schemas register orders.placed order.json --dir schemas\n  polity schemas check schemas\n  polity schemas diff orders.placed.v1 order.json --dir schemas",
		Args:    noSubcommand, RunE: help,
	}
	cmd.AddCommand(a.newSchemasList(), a.newSchemasShow(), a.newSchemasDiff(), a.newSchemasCheck(), a.newSchemasRegister())
	return cmd
}

// subjectLine is a subject at a glance.
type subjectLine struct {
	Subject  string      `json:"subject"`
	Mode     schema.Mode `json:"mode"`
	Declared bool        `json:"declared,omitempty"`
	Versions int         `json:"versions"`
	Type     string      `json:"type"` // of the newest version
}

func lineOf(s *contract.Subject) subjectLine {
	return subjectLine{s.Name, s.Mode, s.Declared, s.Newest(), contract.Type(s.Name, s.Newest())}
}

func (l subjectLine) mode() string {
	if l.Declared {
		return string(l.Mode) + ", declared"
	}
	return string(l.Mode)
}

func (a *app) newSchemasList() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "list", Short: "List subjects", Args: args(cobra.NoArgs), Example: "  polity schemas list\n  polity schemas list --dir schemas -o json",
	}
	dirFlag(cmd, &dir)
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.withRegistry(cmd.Context(), dir, a.existing, func(ctx context.Context, r registry) error {
			list, err := r.subjects(ctx)
			if err != nil {
				return err
			}
			lines := []subjectLine{}
			rows := [][]string{{"SUBJECT", "VERSIONS", "MODE", "NEWEST"}}
			for i := range list {
				l := lineOf(&list[i])
				lines = append(lines, l)
				rows = append(rows, []string{clean(l.Subject), strconv.Itoa(l.Versions), l.mode(), clean(l.Type)})
			}
			if output.value == "json" {
				return a.writeJSON(map[string]any{"subjects": lines})
			}
			if len(list) == 0 {
				a.screen.say("note: nothing is registered")
				return nil
			}
			return a.out([]byte(table(rows)))
		})
	}
	return cmd
}

func (a *app) newSchemasShow() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "show TYPE", Short: "Show the schema of a type, as orders.placed.v2; without a version the newest", Args: args(cobra.ExactArgs(1)),
		Example: "  polity schemas show orders.placed --dir schemas\n  polity schemas show skill:critic/review/in.v1\n  polity schemas show orders.placed -o json | jq .versions",
	}
	dirFlag(cmd, &dir)
	output := outputFlag(cmd, "text: the schema alone", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withRegistry(cmd.Context(), dir, a.existing, func(ctx context.Context, r registry) error {
			s, v, err := findType(ctx, r, args[0])
			if err != nil {
				return err
			}
			if output.value == "json" {
				return a.writeJSON(s)
			}
			return a.writeJSON(v.Schema)
		})
	}
	return cmd
}

// findType returns a subject and the version that a type's name means.
func findType(ctx context.Context, r registry, text string) (*contract.Subject, *contract.Version, error) {
	name, number, err := contract.ParseType(text)
	if err != nil {
		return nil, nil, err
	}
	list, err := r.subjects(ctx, name)
	if errors.Is(err, fault.NotFound) {
		return nil, nil, suggestSubject(ctx, r, name, err)
	}
	if err != nil {
		return nil, nil, err
	}
	v, err := list[0].Version(number)
	return &list[0], v, err
}

// suggestSubject adds to an error which subject could have been meant.
func suggestSubject(ctx context.Context, r registry, name string, err error) error {
	all, listing := r.subjects(ctx)
	if listing != nil {
		return err // which says it already
	}
	var known []string
	for _, s := range all {
		known = append(known, s.Name)
	}
	return fault.NotFound.New("%w%s", err, suggest(name, known))
}

const schemasDiffHelp = `Compare two schemas, each a registered type or a file: whether readers of the second read data
of the first (backward), and the other way round (forward).

The comparison is safe: what it calls compatible is. Of some schemas it cannot tell, and says
what it does not compare.

The exit code is 1 if --mode does not hold.`

// schemasDiff is how two schemas fit each other.
type schemasDiff struct {
	Holds    bool                `json:"holds"` // the mode that was asked for
	Mode     schema.Mode         `json:"mode"`
	Backward []schema.Difference `json:"backward"` // none: compatible
	Forward  []schema.Difference `json:"forward"`
}

func (a *app) newSchemasDiff() *cobra.Command {
	var dir string
	policy := schema.Policy{Mode: schema.Full}
	cmd := &cobra.Command{
		Use: "diff OLD NEW", Short: "Compare two schemas, both ways", Long: schemasDiffHelp, Args: args(cobra.ExactArgs(2)),
		Example: "  polity schemas diff orders.placed.v1 orders.placed.v2 --dir schemas\n  polity schemas diff old.json new.json --mode backward",
	}
	dirFlag(cmd, &dir)
	mode := modeFlag(cmd, "full", "what has to hold for exit code 0; default full")
	declaredFlag(cmd, &policy.Declared)
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var sides [2]json.RawMessage
		for i, text := range args {
			var err error
			if sides[i], err = a.schemaOf(cmd.Context(), dir, text); err != nil {
				return err
			}
		}
		d := schemasDiff{Mode: schema.Mode(mode.value), Holds: true}
		for _, way := range []struct {
			mode schema.Mode
			list *[]schema.Difference
			asks bool
		}{{schema.Backward, &d.Backward, d.Mode.Backward()}, {schema.Forward, &d.Forward, d.Mode.Forward()}} {
			policy.Mode = way.mode
			list, err := schema.Compatible([]json.RawMessage{sides[0]}, sides[1], policy)
			if err != nil {
				return err
			}
			*way.list = append([]schema.Difference{}, list...)
			d.Holds = d.Holds && (!way.asks || len(list) == 0)
		}
		var err error
		if output.value == "json" {
			err = a.writeJSON(d)
		} else {
			err = a.outf("%s%s", wayText("backward", "readers of the new schema read data of the old one", d.Backward),
				wayText("forward", "readers of the old schema read data of the new one", d.Forward))
		}
		if err == nil && !d.Holds {
			err = ended{code: exitFailure}
		}
		return err
	}
	return cmd
}

func wayText(name, holds string, list []schema.Difference) string {
	if len(list) == 0 {
		return name + ": compatible: " + holds + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: not compatible\n", name)
	for _, d := range list {
		fmt.Fprintf(&b, "  at %s: %s\n", clean(d.Path), clean(d.Text))
	}
	return b.String()
}

// schemaOf returns the schema of a registered type, or of a file.
func (a *app) schemaOf(ctx context.Context, dir, text string) (out json.RawMessage, err error) {
	if _, _, noType := contract.ParseType(text); noType != nil || strings.HasSuffix(text, ".json") {
		err := readJSONFile(text, &out)
		return out, err
	}
	err = a.withRegistry(ctx, dir, a.existing, func(ctx context.Context, r registry) error {
		_, v, err := findType(ctx, r, text)
		if err == nil {
			out = v.Schema
		}
		return err
	})
	return out, err
}

// readJSONFile reads the one JSON value of a file.
func readJSONFile(name string, into any) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.NotFound.New("%w", err)
	}
	if err != nil {
		return fault.Denied.New("%w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, schemaFileMax+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return fault.Denied.New("%s: %w", name, err)
	}
	if len(data) > schemaFileMax {
		return fault.Invalid.New("%s: more than %d bytes", name, schemaFileMax)
	}
	return contract.ReadJSON(name, data, into)
}

// modeFlag adds the flag --mode.
func modeFlag(cmd *cobra.Command, value, usage string) *choice {
	c := &choice{value: value}
	for _, m := range schema.Modes() {
		c.allowed = append(c.allowed, string(m))
	}
	cmd.Flags().Var(c, "mode", usage)
	return c
}

func declaredFlag(cmd *cobra.Command, declared *bool) {
	cmd.Flags().BoolVar(declared, "declared", false, "take it that writers write no properties but those that their schema declares")
}

// versionFlags are what a new version is made of beside its schema.
type versionFlags struct {
	mode           *choice
	declared       bool
	upcast, golden string
}

func (v *versionFlags) add(cmd *cobra.Command) {
	v.mode = modeFlag(cmd, "", "which changes the subject allows; default what it has, and for a new one backward, or full for skills")
	declaredFlag(cmd, &v.declared)
	cmd.Flags().StringVar(&v.upcast, "upcast", "", "file with the changes that make data of the version before into data of this one")
	cmd.Flags().StringVar(&v.golden, "golden", "", "file with a list of data of this version, which later versions have to read")
}

// registration is what the flags and a file ask for.
func (v *versionFlags) registration(cmd *cobra.Command, subject, file string) (contract.Registration, error) {
	q := contract.Registration{Subject: subject, Policy: v.policy(cmd, subject)}
	if err := readJSONFile(file, &q.Version.Schema); err != nil {
		return q, err
	}
	if v.upcast != "" {
		if err := readJSONFile(v.upcast, &q.Version.Upcast); err != nil {
			return q, err
		}
	}
	if v.golden != "" {
		if err := readJSONFile(v.golden, &q.Version.Golden); err != nil {
			return q, err
		}
	}
	return q, nil
}

// policy is what the flags ask for; nil if they ask for nothing.
func (v *versionFlags) policy(cmd *cobra.Command, subject string) *schema.Policy {
	if v.mode.value == "" && !cmd.Flags().Changed("declared") {
		return nil
	}
	p := &schema.Policy{Mode: schema.Mode(v.mode.value), Declared: v.declared}
	if p.Mode == "" {
		p.Mode = contract.DefaultMode(subject)
	}
	return p
}

const schemasCheckHelp = `Check a folder of registered schemas: that each version is what was registered, that it fits the
versions before it, and that golden data is read. With a subject and a file: whether the file
could be its next version.

Nothing is written and no node is asked, so that it fits into CI. The exit code is 6 if a
change breaks somebody, and 2 if a file cannot be read.`

// checkedSubject is what was found in a subject.
type checkedSubject struct {
	subjectLine
	Findings []contract.Finding `json:"findings"`
}

func (a *app) newSchemasCheck() *cobra.Command {
	var dir string
	var version versionFlags
	cmd := &cobra.Command{
		Use: "check [DIR | SUBJECT FILE]", Short: "Check a folder of schemas, or a schema that is to be registered", Long: schemasCheckHelp,
		Args:    args(cobra.MaximumNArgs(2)),
		Example: "  polity schemas check\n  polity schemas check schemas -o json\n  polity schemas check orders.placed new.json --dir schemas",
	}
	cmd.Flags().StringVar(&dir, "dir", contract.FolderName, "the folder, with a subject and a file")
	version.add(cmd)
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			if len(args) == 1 {
				dir = args[0]
			}
			list, err := contract.OpenFolder(dir).List()
			if err != nil {
				return err
			}
			return a.printChecked(list, output.value)
		}
		q, err := version.registration(cmd, args[0], args[1])
		if err != nil {
			return err
		}
		s, err := contract.OpenFolder(dir).Subject(q.Subject)
		if errors.Is(err, fault.NotFound) {
			s, err = &contract.Subject{Name: q.Subject, Policy: schema.Policy{Mode: contract.DefaultMode(q.Subject)}}, nil
		}
		if err != nil {
			return err
		}
		return a.printCandidate(s, q, output.value)
	}
	return cmd
}

func (a *app) printChecked(list []contract.Subject, form string) error {
	checked := []checkedSubject{}
	broken := 0
	for i := range list {
		c := checkedSubject{lineOf(&list[i]), append([]contract.Finding{}, list[i].Check()...)}
		checked = append(checked, c)
		if len(c.Findings) > 0 {
			broken++
		}
	}
	if form == "json" {
		if err := a.writeJSON(map[string]any{"compatible": broken == 0, "subjects": checked}); err != nil {
			return err
		}
	} else {
		for _, c := range checked {
			if err := a.printFindings(c); err != nil {
				return err
			}
		}
	}
	if broken > 0 {
		return ended{code: exitConflict}
	}
	return nil
}

// printFindings says what is right on stdout, and what is wrong on stderr.
func (a *app) printFindings(c checkedSubject) error {
	if len(c.Findings) == 0 {
		return a.outf("%s: %s, %s: compatible\n", clean(c.Subject), count(c.Versions, "version"), c.mode())
	}
	for _, f := range c.Findings {
		what := clean(contract.Type(c.Subject, f.Version))
		for _, d := range f.Differences {
			a.screen.say("%s: %s", what, clean(d.String()))
		}
		if f.Fault != nil {
			a.screen.say("%s: %s", what, cleanLines(f.Fault.Text))
		}
	}
	return nil
}

// printCandidate says whether a version could be the next.
func (a *app) printCandidate(s *contract.Subject, q contract.Registration, form string) error {
	if q.Policy != nil {
		s.Policy = *q.Policy
	}
	next, list, err := s.Add(q.Version)
	if err != nil {
		return err
	}
	number := s.Newest() + 1
	if len(list) == 0 {
		number = next.Newest()
	}
	c := checkedSubject{subjectLine{s.Name, s.Mode, s.Declared, number, contract.Type(s.Name, number)}, []contract.Finding{}}
	if len(list) > 0 {
		c.Findings = append(c.Findings, contract.Finding{Version: number, Differences: list})
	}
	if form == "json" {
		err = a.writeJSON(map[string]any{"compatible": len(list) == 0, "subjects": []checkedSubject{c}})
	} else if len(list) == 0 {
		err = a.outf("%s could be registered (mode %s)\n", clean(c.Type), c.mode())
	} else {
		err = a.printFindings(c)
	}
	if err == nil && len(list) > 0 {
		err = ended{code: exitConflict}
	}
	return err
}

const schemasRegisterHelp = `Register a version of a subject: with a subject and a file, with --manifest what its main agent is
asked and answers, or with --from everything of a folder on the node.

A version that breaks what the subject's mode promises is refused with the differences, and
exit code 6. A version like the newest is there already. Versions never change.

Where a change breaks new readers on purpose, --upcast says how they read old data:

  [{"rename": "/qty", "to": "quantity"}, {"move": "/name", "to": "/customer/name"},
   {"default": "/currency", "value": "EUR"}, {"drop": "/legacy"}]

It is tried on the golden data of the versions before.`

func (a *app) newSchemasRegister() *cobra.Command {
	var dir, from, of string
	var version versionFlags
	cmd := &cobra.Command{
		Use: "register [SUBJECT FILE]", Short: "Register a version, or refuse it with what it breaks", Long: schemasRegisterHelp, Args: args(cobra.MaximumNArgs(2)),
		Example: "  polity schemas register orders.placed order.json --dir schemas --golden orders.json\n  polity schemas register --manifest desk.yaml\n  polity schemas register --from schemas",
	}
	dirFlag(cmd, &dir)
	cmd.Flags().StringVar(&from, "from", "", "folder whose subjects are all registered")
	cmd.Flags().StringVar(&of, "manifest", "", "manifest whose main agent's skills are registered")
	version.add(cmd)
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		list, err := a.registrations(cmd, args, from, of, &version)
		if err != nil {
			return err
		}
		return a.withRegistry(cmd.Context(), dir, a.connect, func(ctx context.Context, r registry) error {
			lines := []subjectLine{}
			for _, q := range list {
				s, err := r.register(ctx, q)
				if err != nil {
					return err
				}
				l := lineOf(s)
				if n := len(lines); n > 0 && lines[n-1].Subject == l.Subject {
					lines = lines[:n-1]
				}
				lines = append(lines, l)
			}
			if output.value == "json" {
				return a.writeJSON(map[string]any{"subjects": lines})
			}
			for _, l := range lines {
				if err := a.outf("%s: %s, mode %s\n", clean(l.Type), count(l.Versions, "version"), l.mode()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

// registrations are what the command line asks to register.
func (a *app) registrations(cmd *cobra.Command, args []string, from, of string, version *versionFlags) ([]contract.Registration, error) {
	asked := 0
	for _, yes := range []bool{len(args) > 0, from != "", of != ""} {
		if yes {
			asked++
		}
	}
	switch {
	case asked != 1 || len(args) == 1:
		return nil, usagef("give a subject and a file, or --manifest, or --from\nSee: %s --help", cmd.CommandPath())
	case (from != "" || of != "") && (version.upcast != "" || version.golden != ""):
		return nil, usagef("--upcast and --golden belong to one subject and a file")
	case len(args) == 2:
		q, err := version.registration(cmd, args[0], args[1])
		return []contract.Registration{q}, err
	case of != "":
		m, err := a.load(of)
		if err != nil {
			return nil, err
		}
		list := engine.Promises(&m.Release)
		for i := range list {
			list[i].Policy = version.policy(cmd, list[i].Subject)
		}
		return list, nil
	default:
		return fromFolder(from)
	}
}

// fromFolder is everything in a folder. Versions that are there already are registered once more, which changes nothing.
func fromFolder(dir string) ([]contract.Registration, error) {
	subjects, err := contract.OpenFolder(dir).List()
	if err != nil {
		return nil, err
	}
	var list []contract.Registration
	for i := range subjects {
		s := &subjects[i]
		for k := range s.Versions {
			list = append(list, contract.Registration{Subject: s.Name, Policy: &s.Policy, Version: s.Versions[k], Number: k + 1})
		}
	}
	return list, nil
}
