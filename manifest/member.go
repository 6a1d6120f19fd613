package manifest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"polity.run"
	"polity.run/agent"
	"polity.run/model"
)

// Limits of a program where the manifest names none.
const (
	timeoutDefault   = 60 * time.Second
	outputMaxDefault = 1 << 20 // bytes
)

// member adds the definition of an agent.
func (b *builder) member(name, at string, m *member) {
	d := b.define(name, m.Description, at, m.Skills)
	kind := b.kind(at, m)
	for _, field := range slices.Sorted(maps.Keys(b.kinds.owner)) {
		if owner := b.kinds.owner[field]; kind != "" && owner != kind && b.at.has(at+"."+field) {
			b.add(at+"."+field, fmt.Sprintf("this belongs to agents of kind %s; this agent is of kind %s", owner, kind), "delete it")
		}
	}
	d.Kind = agent.Kind(kind)
	switch d.Kind {
	case agent.KindModel:
		d.Model = b.model(at, m)
	case agent.KindExec:
		d.Exec = b.exec(at, m)
	case agent.KindGo:
		d.Go = b.code(at, m)
	case agent.KindHTTP:
		d.HTTP = b.service(at, m.HTTP)
	case agent.KindMCP:
		d.MCP = b.skillsOf(d, at, m.MCP, b.at.has(at+".skills"))
	case agent.KindHuman:
		d.Human = b.person(m.Human)
	case agent.KindRemote:
		d.Remote = b.remote(m.Remote)
	case agent.KindOrg:
		b.orgs[name] = &org{def: d, path: at, as: &m.patterned}
	}
}

// kind returns the agent's kind as it is written or told by a field, or "" if that is a problem.
func (b *builder) kind(at string, m *member) kindWord {
	var told []kindWord
	for _, k := range kindWord("").choices() {
		if b.at.has(at + "." + b.kinds.teller[kindWord(k)]) {
			told = append(told, kindWord(k))
		}
	}
	switch {
	case m.Kind != "":
		if field := b.kinds.teller[m.Kind]; !b.at.has(at + "." + field) {
			b.add(at+"."+field, fmt.Sprintf("this field is missing; kind %s needs it", m.Kind), fmt.Sprintf("add %q", field+": ..."))
		}
		return m.Kind
	case b.at.has(at + ".kind"):
		return "" // reported by the decoder
	case len(told) == 1:
		return told[0]
	case len(told) > 1:
		b.add(at, fmt.Sprintf("%s and %s tell different kinds", b.kinds.teller[told[0]], b.kinds.teller[told[1]]), "delete one of them")
	case b.at.isMapping(at):
		b.add(at, "nothing tells how this agent works", "add one of "+strings.Join(b.kinds.tellers(), ", "))
	}
	return ""
}

func (b *builder) model(at string, m *member) *agent.Model {
	out := &agent.Model{
		Model: m.Model, Instructions: b.instructions(at, m), Gather: b.tools(at+".gather", m.Gather),
		Tools: b.offered(at+".tools", m.Tools), Steps: int(m.Steps),
		Memory: b.remembers(at+".memory", m.Memory),
	}
	if m.Repairs != nil {
		out.Repairs = new(int(*m.Repairs))
	}
	if m.Context != nil {
		out.Context = agent.Context{Max: int64(m.Context.Max), Compact: agent.Compaction(m.Context.Compact)}
	}
	spec := b.models[m.Model]
	switch {
	case spec != nil:
		b.uses["models"+keyPath(m.Model)] = true
		for _, other := range spec.Fallback {
			b.uses["models"+keyPath(other)] = true
		}
		b.know(out, spec)
	case m.Model != "" && !slices.Contains(b.env.models, m.Model):
		if _, wrong := b.file.Models[word(m.Model)]; !wrong { // else it was reported there
			b.unknown(at+".model", "no model", m.Model, append(b.declaredModels(), b.env.models...))
		}
	case m.Model == "quote":
		for _, field := range []string{"tools", "agents"} {
			if b.at.has(at + "." + field) {
				b.add(at+"."+field, "the offline model quote calls nothing", "write gather: for tools that are called for each request, or set another model")
			}
		}
	}
	return out
}

// know adds what is known of the model, and of those that may answer instead: the dearest price and the shortest context.
func (b *builder) know(out *agent.Model, spec *model.Spec) {
	out.Price, out.OutputMax = spec.Price, cmp.Or(spec.OutputMax, model.OutputDefault)
	context := cmp.Or(spec.ContextMax, model.ContextDefault)
	for _, name := range spec.Fallback {
		if o := b.models[name]; o != nil {
			p := &out.Price
			p.Input, p.Output = max(p.Input, o.Price.Input), max(p.Output, o.Price.Output)
			p.CacheRead, p.CacheWrite = max(p.CacheRead, o.Price.CacheRead), max(p.CacheWrite, o.Price.CacheWrite)
			context = min(context, cmp.Or(o.ContextMax, model.ContextDefault))
		}
	}
	if out.Context.Max == 0 {
		out.Context.Max = max(context-out.OutputMax, 1)
	}
}

// instructions returns what the model is told, from its file if it is in one.
func (b *builder) instructions(at string, m *member) string {
	inline, filed := b.at.has(at+".instructions"), b.at.has(at+".instructions_file")
	text, at1 := m.Instructions, at+".instructions"
	switch {
	case inline && filed:
		b.add(at+".instructions_file", "instructions are given twice", "delete instructions or instructions_file")
		return ""
	case !inline && !filed:
		b.add(at1, "this field is missing; kind model needs it", `add "instructions: ..." or "instructions_file: ..."`)
		return ""
	case filed && m.InstructionsFile == "":
		return "" // reported by the decoder
	case filed:
		at1 = at + ".instructions_file"
		if b.spent > ReleaseMax {
			return ""
		}
		data, _, err := b.dir.read(m.InstructionsFile, InstructionsMax)
		if err != nil {
			b.add(at1, err.Error(), "")
			return ""
		}
		if !utf8.Valid(data) || len(bytes.TrimSpace(data)) == 0 {
			b.add(at1, "file "+shown(m.InstructionsFile)+" holds no text", "write the instructions into it, as UTF-8")
			return ""
		}
		text = string(data)
	}
	if len(text) > InstructionsMax {
		b.add(at1, fmt.Sprintf("instructions are longer than %d KiB", InstructionsMax>>10), "shorten them")
	}
	b.spend(len(text), at1)
	return text
}

// tools pins the tools of a model.
func (b *builder) tools(at string, uses []toolUse) []agent.ToolPin {
	if len(uses) > WordsMax {
		b.add(at, fmt.Sprintf("%d tools are more than %d", len(uses), WordsMax), "split the agent")
		return nil
	}
	var pins []agent.ToolPin
	first := map[string]int{}
	for i, use := range uses {
		path := fmt.Sprintf("%s[%d]", at, i)
		if use.Name == "" {
			continue // reported by the decoder
		}
		if at0, twice := first[use.Name]; twice {
			b.add(path, fmt.Sprintf("tool %s is already listed by %s[%d]", shown(use.Name), at, at0), "delete one of them")
			continue
		}
		first[use.Name] = i
		if spec, ok := b.tool(use.Name); !ok {
			b.noTool(path, use.Name)
		} else if b.usable(path, use, spec) {
			b.uses[spec.at] = true
			pins = append(pins, agent.ToolPin{Name: use.Name, Digest: spec.digest, Input: use.Input.json})
		}
	}
	return pins
}

// usable checks what a tool would be given against what it accepts.
func (b *builder) usable(path string, use toolUse, spec toolSpec) bool {
	if spec.digest == "" || spec.err != nil {
		b.add(path, "tool "+shown(use.Name)+" declares schemas that cannot be used", "tell its maker")
		return false
	}
	input, fix := use.Input.json, ""
	if b.at.has(path + ".input") {
		if len(input) == 0 {
			return false // reported by the decoder
		}
		path += ".input"
	} else {
		input, fix = json.RawMessage("{}"), fmt.Sprintf("write {name: %s, input: {...}}", use.Name)
	}
	if err := spec.input.Check(input); err != nil {
		b.add(path, "tool "+shown(use.Name)+" does not accept the input: "+oneLine(err), fix)
		return false
	}
	return true
}

func (b *builder) code(at string, m *member) *agent.Go {
	version, ok := b.env.env.Go[m.Use]
	if m.Use != "" && !ok {
		b.unknown(at+".use", "no Go agent", m.Use, b.env.code)
	}
	return &agent.Go{Use: m.Use, Version: version}
}

func (b *builder) exec(at string, m *member) *agent.Exec {
	e := &agent.Exec{
		Command: m.Command, Env: b.environ(at+".env", m.Env), Effect: polity.Effect(m.Effect),
		Timeout: polity.Duration(m.Timeout), OutputMax: int(m.OutputMax), Files: map[string]agent.File{},
		Sandbox: b.sandbox(at+".sandbox", m.Sandbox),
	}
	if e.Effect == "" {
		e.Effect = polity.EffectExternal
	}
	if e.Timeout == 0 {
		e.Timeout = polity.Duration(timeoutDefault)
	}
	if e.OutputMax == 0 {
		e.OutputMax = outputMaxDefault
	}
	if len(m.Command) > WordsMax || len(m.Files) > WordsMax {
		b.add(at, fmt.Sprintf("command and files may have %d entries each", WordsMax), "")
		return e
	}
	for i, name := range m.Files {
		b.pin(e, fmt.Sprintf("%s.files[%d]", at, i), name)
	}
	e.Command = make([]string, len(m.Command))
	for i, text := range m.Command {
		e.Command[i] = b.commandWord(e, fmt.Sprintf("%s.command[%d]", at, i), text)
	}
	b.startable(e, at)
	return e
}

// commandWord pins the file that a word of a command names, if it names one, and returns the word
// by which the program's copy of the folder has it.
func (b *builder) commandWord(e *agent.Exec, at, text string) string {
	switch {
	case strings.ContainsRune(text, 0):
		b.add(at, "the word holds a zero byte", "delete it")
	case text == ".." || strings.HasPrefix(text, "../"):
		b.add(at, shown(text)+" leaves the manifest's folder", "copy the file into it and begin the word with ./")
	case strings.HasPrefix(text, "./"):
		b.pin(e, at, text)
		return "./" + path.Clean(text)
	}
	return text
}

// startable checks that a pinned program can be started.
func (b *builder) startable(e *agent.Exec, at string) {
	if len(e.Command) == 0 {
		return
	}
	if f, pinned := e.Files[strings.TrimPrefix(e.Command[0], "./")]; pinned && !f.Executable {
		b.add(at+".command[0]", shown(e.Command[0])+" is not executable", "run chmod +x on it, or put its interpreter first")
	}
}

// pin reads a file and keeps its content. An empty name was reported by the decoder.
func (b *builder) pin(e *agent.Exec, at, name string) {
	clean := path.Clean(name)
	if f, known := b.files[clean]; known {
		e.Files[clean] = f
	}
	if _, ok := e.Files[clean]; ok || name == "" || b.pinned > BlobsMax {
		return
	}
	data, executable, err := b.dir.read(clean, FileMax)
	if err != nil {
		b.add(at, err.Error(), "")
		return
	}
	if b.pinned += len(data); b.pinned > BlobsMax {
		b.add(at, fmt.Sprintf("up to here the pinned files have more than %d MiB", BlobsMax>>20), "pin less")
		return
	}
	f := agent.File{Digest: hexSum(data), Executable: executable}
	b.blobs[f.Digest] = data
	b.files[clean], e.Files[clean] = f, f
}

var environText = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)=([^\x00]*)$`)

// environ checks the variables of a program. Those that the engine sets itself are refused.
func (b *builder) environ(at string, env []string) []string {
	if len(env) > WordsMax {
		b.add(at, fmt.Sprintf("%d variables are more than %d", len(env), WordsMax), "")
		return nil
	}
	first := map[string]int{}
	for i, pair := range env {
		path := fmt.Sprintf("%s[%d]", at, i)
		parts := environText.FindStringSubmatch(pair)
		if parts == nil {
			if pair != "" {
				b.add(path, shown(pair)+" is not NAME=value", "write it as in LC_ALL=C")
			}
			continue
		}
		name := parts[1]
		if at0, twice := first[name]; twice {
			b.add(path, fmt.Sprintf("%s is already set by %s[%d]", name, at, at0), "delete one of them")
			continue
		}
		first[name] = i
		if name == "HOME" || strings.HasPrefix(name, "POLITY_") {
			b.add(path, name+" is set by the engine", "choose another name")
		}
	}
	return env
}

// compact checks and shortens JSON.
func compact(data []byte) (json.RawMessage, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
