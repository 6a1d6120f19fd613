package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/manifest"
	"polity.run/tool"
)

const inputMax = 8 << 20 // bytes of --input

// asked is what the command line of run asks for.
type asked struct {
	manifest     string
	question     string
	in           string
	input        string
	agent        string
	skill        string
	version      int // of the registered schema that the input was written for
	bounds       string
	conversation string
	subject      string
	fresh        bool // a new run, whatever ran before
}

// load reads a manifest. Its warnings go to stderr.
func (a *app) load(path string) (*manifest.Manifest, error) {
	env, err := a.environment()
	if err != nil {
		return nil, err
	}
	m, err := manifest.Load(path, env)
	if err != nil {
		return nil, err
	}
	for _, w := range m.Warnings {
		a.screen.say("warning: %s", cleanLines(w.String()))
	}
	return m, nil
}

// environment is what this program has built in.
func (a *app) environment() (manifest.Env, error) {
	tools, err := engine.Tools()
	if err != nil {
		return manifest.Env{}, err
	}
	env := manifest.Env{Tools: map[string]tool.Spec{}, Specs: engine.Specs, Go: map[string]string{}}
	for _, linked := range a.agents {
		env.Go[string(linked.Name)] = linked.Version
	}
	for _, t := range tools {
		env.Tools[t.Spec().Name] = t.Spec()
	}
	for _, m := range engine.Models() {
		env.Models = append(env.Models, m.Name())
	}
	return env, nil
}

// request makes the request for a run. The same command line about the same content is the same run.
func (a *app) request(ctx context.Context, q asked) (client.Request, error) {
	m, err := a.load(q.manifest)
	if err != nil {
		return client.Request{}, err
	}
	r := client.Request{Release: &m.Release, Files: m.Blobs, Agent: cmp.Or(q.agent, m.Release.Main), Skill: q.skill, Version: q.version, Conversation: q.conversation}
	if err := checkAsked(&m.Release, r.Agent, r.Skill); err != nil {
		return client.Request{}, err
	}
	if r.Subject = q.subject; r.Subject != "" || namesSubject(&m.Release, r.Agent, r.Skill) {
		q.fresh = true // an ID that is made of the content would tell who guesses it that they are right
	}
	if r.Bounds, err = parseBounds(q.bounds); err != nil {
		return client.Request{}, err
	}
	if q.in != "" {
		if err := a.sameMachine(); err != nil {
			return client.Request{}, err
		}
		if r.Folder, err = realFolder(q.in); err != nil {
			return client.Request{}, err
		}
	}
	if r.Input, err = a.input(q, r.Folder); err != nil {
		return client.Request{}, err
	}
	if r.Seed, err = a.seed(ctx, q, r.Folder); err != nil {
		return client.Request{}, err
	}
	r.ID, err = runID(r)
	return r, err
}

// sameMachine returns an error if a server of another machine is asked, which does not see the folders of this one.
func (a *app) sameMachine() error {
	at, err := a.elsewhere()
	if err != nil {
		return err
	}
	if r, ok := at.(*remote); ok && !r.Near() {
		return usagef("--in names a folder of this machine, and %s does the work, which does not see it. Put what is asked about into the input (--input @FILE), or the folder there, "+
			"and name it by its path there: curl --json '{\"org\": ..., \"input\": ..., \"folder\": \"/srv/app\"}' %s/v1/runs", r.Name(), r.Name())
	}
	return nil
}

// namesSubject says whether what is asked of an agent names whose data it is.
func namesSubject(r *agent.Release, name, skill string) bool {
	def := r.Agent(name)
	return slices.ContainsFunc(def.Skills, func(s polity.Skill) bool {
		return s.Subject != "" && (s.Name == skill || skill == "" && len(def.Skills) == 1)
	})
}

// checkAsked says of an agent or skill that the release does not have what was meant.
func checkAsked(r *agent.Release, name, skill string) error {
	if err := checkMember(r, name); err != nil {
		return err
	}
	def := r.Agent(name)
	var skills []string
	for _, s := range def.Skills {
		if s.Name == skill {
			return nil
		}
		skills = append(skills, s.Name)
	}
	switch {
	case skill != "":
		return fault.NotFound.New("agent %s has no skill %q among %s%s", name, skill, strings.Join(skills, ", "), suggest(skill, skills))
	case len(skills) > 1:
		return usagef("agent %s has more than one skill; choose one with --skill: %s", name, strings.Join(skills, ", "))
	default:
		return nil
	}
}

// checkMember says of an agent that the release does not have it.
func checkMember(r *agent.Release, name string) error {
	if r.Agent(name) != nil {
		return nil
	}
	var known []string
	for i := range r.Agents {
		known = append(known, string(r.Agents[i].Name))
	}
	return fault.NotFound.New("there is no agent %q among %s%s", name, strings.Join(known, ", "), suggest(name, known))
}

// input is the request's input as JSON.
func (a *app) input(q asked, folder string) (json.RawMessage, error) {
	if q.input == "" {
		fields := map[string]string{}
		if q.question != "" {
			fields["question"] = q.question
		}
		if folder != "" {
			fields["folder_name"] = filepath.Base(folder)
		}
		data, err := json.Marshal(fields) // with its keys in order
		if err != nil {
			return nil, fault.Invalid.New("question: %w", err)
		}
		return data, nil
	}
	if q.question != "" {
		return nil, usagef("there are a question and --input; give one of them")
	}
	data, err := a.inputText(q.input)
	if err != nil {
		return nil, err
	}
	if !json.Valid(data) {
		var v any
		return nil, fault.Invalid.New("--input is not JSON: %w; a file is named as in @input.json", json.Unmarshal(data, &v))
	}
	return data, nil
}

// inputText is the value of --input, or what is in the file that it names.
func (a *app) inputText(value string) (data []byte, err error) {
	name, isFile := strings.CutPrefix(value, "@")
	if !isFile {
		return []byte(value), nil
	}
	from := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fault.NotFound.New("--input: %w", err)
		}
		defer f.Close()
		from = f
	}
	data, err = io.ReadAll(io.LimitReader(from, inputMax+1))
	if err != nil {
		return nil, fault.Invalid.New("--input: %w", err)
	}
	if len(data) > inputMax {
		return nil, fault.Invalid.New("--input: more than %d bytes", inputMax)
	}
	return data, nil
}

// seed tells apart requests that are otherwise equal: by what is in the folder, or as always new.
// freshSeed begins the seed of a run that is a new one every time.
const freshSeed = "new "

func (a *app) seed(ctx context.Context, q asked, folder string) (string, error) {
	if q.fresh {
		return freshSeed + rand.Text(), nil
	}
	if folder == "" {
		return "", nil
	}
	dir, err := a.stateDir()
	if err != nil {
		return "", err
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	return folderDigest(ctx, folder, dir, folderLimits{folderFilesMax, folderBytesMax})
}

// runID names the run that a request opens, so that it can be looked for before it is opened.
func runID(q client.Request) (polity.RunID, error) {
	release, _, err := manifest.Digest(q.Release)
	if err != nil {
		return "", err
	}
	q.ID, q.Release, q.Files = "", nil, nil // the digest covers the files
	rest, err := json.Marshal(q)
	if err != nil {
		return "", fault.Invalid.New("input: %w", err)
	}
	return polity.NewRunID(0, fmt.Appendf(nil, "%s\n%s", release, rest)), nil
}

// boundNames are the bounds as --bounds writes them.
var boundNames = []string{"turns", "tokens", "usd", "wall", "depth", "fan_out", "retries", "undo_reserve"}

// parseBounds reads bounds as in "turns=100,wall=5m,usd=0.50".
func parseBounds(text string) (polity.Bounds, error) {
	var b polity.Bounds
	if text == "" {
		return b, nil
	}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return b, usagef("--bounds: %q is not NAME=VALUE, as in turns=100,wall=5m", part)
		}
		if seen[name] {
			return b, usagef("--bounds: %s is set twice", name)
		}
		seen[name] = true
		if err := setBound(&b, name, value); err != nil {
			return b, err
		}
	}
	return b, nil
}

func setBound(b *polity.Bounds, name, value string) error {
	whole, notWhole := strconv.ParseInt(value, 10, 32)
	var err error
	switch name {
	case "turns":
		b.Turns, err = int(whole), notWhole
	case "tokens":
		b.Tokens, err = strconv.ParseInt(value, 10, 64)
		whole = b.Tokens
	case "usd":
		b.MicroUSD, err = parseUSD(value)
		whole = b.MicroUSD
	case "wall":
		var d time.Duration
		d, err = time.ParseDuration(value)
		b.Wall, whole = polity.Duration(d), int64(d)
	case "depth":
		b.Depth, err = int(whole), notWhole
	case "fan_out":
		b.FanOut, err = int(whole), notWhole
	case "retries":
		b.Retries, err = int(whole), notWhole
	case "undo_reserve":
		var share float64
		share, err = strconv.ParseFloat(value, 64)
		if b.UndoReserve = int(math.Round(share * 100)); err == nil && (!(share > 0) || b.UndoReserve > polity.UndoReserveMax) {
			return usagef("--bounds: undo_reserve=%s: want a share such as 0.2, at most %.1f", value, float64(polity.UndoReserveMax)/100)
		}
		whole = 1
	default:
		return usagef("--bounds: there is no bound %q among %s%s", name, strings.Join(boundNames, ", "), suggest(name, boundNames))
	}
	if err != nil {
		return usagef("--bounds: %s: %w", name, err)
	}
	if whole <= 0 {
		return usagef("--bounds: %s=%s: want more than nothing; leave it out for the default", name, value)
	}
	return nil
}

// parseUSD reads an amount with at most six decimals as millionths.
func parseUSD(text string) (int64, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	digits := whole + fraction + strings.Repeat("0", max(0, 6-len(fraction)))
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || len(fraction) > 6 || strings.ContainsAny(text, "+-") {
		return 0, fmt.Errorf("%q is not an amount of US dollars, as in 0.50", text)
	}
	return n, nil
}
