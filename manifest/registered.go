package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"polity.run"
	"polity.run/agent"
	"polity.run/contract"
	"polity.run/fault"
	"polity.run/pattern"
	"polity.run/schema"
)

// typePrefix begins the name of a registered type where a schema is wanted, as in type:orders.placed.v2.
const typePrefix = "type:"

// registered returns the schema of a type that is registered in the folder beside the manifest.
func (b *builder) registered(text, path string) json.RawMessage {
	name, number, err := contract.ParseType(text)
	if err != nil {
		b.add(path, oneLine(err), "")
		return nil
	}
	folder := contract.Within(b.dir.root)
	s, err := folder.Subject(name)
	if errors.Is(err, fault.NotFound) {
		b.unknown(path, "the folder "+contract.FolderName+" has no type", name, registeredNames(folder))
		return nil
	}
	if err != nil {
		b.add(path, oneLine(err), "")
		return nil
	}
	v, err := s.Version(number)
	switch {
	case err != nil:
		b.add(path, oneLine(err), "")
		return nil
	case number == 0:
		b.add(path, "nothing says which version of "+shown(name)+" is meant", "write "+typePrefix+contract.Type(name, s.Newest()))
		return nil
	case !b.spend(len(v.Schema), path):
		return nil
	}
	raw, err := compact(v.Schema)
	if err != nil {
		b.add(path, oneLine(err), "")
	}
	return raw
}

// registeredNames are the types that could have been meant.
func registeredNames(folder *contract.Folder) []string {
	list, _ := folder.List() // what is wrong with others is of no interest here: they are left out
	var names []string
	for _, s := range list {
		names = append(names, s.Name)
	}
	return names
}

// reads adds which type a skill's input is of, and which versions of it are read.
func (b *builder) reads(made *polity.Skill, s skill, at string) {
	text, registered := strings.CutPrefix(s.Input.file, typePrefix)
	if !registered {
		if s.Reads != "" {
			b.add(at+".reads", "the input is of no registered type", "write input: "+typePrefix+"NAME.vN, or delete this")
		}
		return
	}
	made.Type, made.Reads = text, string(s.Reads)
	_, number, err := contract.ParseType(text)
	if err != nil || s.Reads == "" {
		return // reported
	}
	r, err := schema.ParseRange(string(s.Reads))
	switch {
	case err != nil:
		b.add(at+".reads", oneLine(err), "")
	case r.To != number:
		b.add(at+".reads", "versions "+r.String()+" end with another one than that of the input", "name the version that the input is of last")
	}
}

// handsOver warns where a stage declares what it answers, the next what it is asked, and the one does not fit the other.
func (b *builder) handsOver(from, to *pattern.Stage, path string) {
	writer, reader := b.skillOf(from), b.skillOf(to)
	if writer == nil || reader == nil || len(writer.Output) == 0 || len(reader.Input) == 0 {
		return
	}
	list, err := schema.Fits(
		schema.Side{Name: string(from.Agent), Schema: writer.Output}, schema.Side{Name: string(to.Agent), Schema: reader.Input}, true)
	if err != nil || len(list) == 0 {
		return // what is no schema was reported where it stands
	}
	b.log.warn(b.at.place(path), path, fmt.Sprintf("agent %s is not shown to accept what %s answers: at %s: %s", to.Agent, from.Agent, list[0].Path, list[0].Text),
		"change one of the two schemas")
}

// skillOf is the skill that a stage asks for, or nil.
func (b *builder) skillOf(s *pattern.Stage) *polity.Skill {
	d := b.defs[string(s.Agent)]
	if d == nil {
		return nil
	}
	for i := range d.Skills {
		if d.Skills[i].Name == s.Skill || s.Skill == "" && len(d.Skills) == 1 {
			return &d.Skills[i]
		}
	}
	return nil
}

// keeps reports where the main agent would break who relies on what is registered of its skills in the folder beside the manifest. A node
// looks at the same when the release is installed, by what is registered there.
func (b *builder) keeps(r *agent.Release) {
	main := b.defs[r.Main]
	if _, err := b.dir.root.Stat(contract.FolderName); err != nil || main == nil {
		return // without the folder nothing is registered
	}
	b.keepsTold(r)
	folder, path := contract.Within(b.dir.root), "agents"+keyPath(r.Main)
	if main.Kind == agent.KindOrg && b.file.Org != nil {
		path = "org"
	}
	for i, s := range main.Skills {
		at := fmt.Sprintf("%s.skills[%d]", path, i)
		b.keepsSide(folder, contract.SkillSubject(r.Main, s.Name, false), s.Input, at+".input")
		b.keepsSide(folder, contract.SkillSubject(r.Main, s.Name, true), s.Output, at+".output")
	}
}

// keepsTold is keeps for topics and signals.
func (b *builder) keepsTold(r *agent.Release) {
	folder := contract.Within(b.dir.root)
	for i := range r.Topics {
		if t := &r.Topics[i]; len(t.Schema) > 0 {
			b.keepsSide(folder, t.Name, t.Schema, "topics"+keyPath(t.Name)+".schema")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.defs)) {
		path := "agents" + keyPath(name)
		if o := b.orgs[name]; o != nil {
			path = o.path
		}
		for _, signal := range slices.Sorted(maps.Keys(b.defs[name].Signals)) {
			b.keepsSide(folder, contract.SignalSubject(name, signal), b.defs[name].Signals[signal], b.stageOf(name, path, signal))
		}
	}
}

// stageOf is where the schema of a signal stands.
func (b *builder) stageOf(org, path, signal string) string {
	if o := b.orgs[org]; o != nil {
		for i, s := range o.as.Stages {
			if s.Await != nil && s.Await.Signal == signal {
				return fmt.Sprintf("%s.stages[%d].await.schema", path, i)
			}
		}
		for i, s := range o.as.Plan {
			if s.Await != nil && s.Await.Signal == signal {
				return fmt.Sprintf("%s.plan[%d].await.schema", path, i)
			}
		}
	}
	return path
}

func (b *builder) keepsSide(folder *contract.Folder, name string, raw json.RawMessage, path string) {
	s, err := folder.Subject(name)
	if errors.Is(err, fault.NotFound) {
		return
	}
	var list []schema.Difference
	if err == nil {
		list, err = s.Fits(raw)
	}
	if err != nil {
		b.add(path, oneLine(err), "")
	}
	for _, d := range list {
		b.add(path, fmt.Sprintf("who relies on %s (mode %s) would break: %s", name, s.Mode, d), "make it fit what is registered, or give it another name")
	}
}
