// Package contract keeps the schemas that parties rely on who are upgraded one without the other: of event types, of what skills
// are asked and answer, and of signals to runs.
//
// It exists so that a change which would break somebody is refused when it is made, and not when the first value comes that cannot be
// read. The life of a subject:
//
//	a first version -> Add: compared with those before it, under the subject's policy -> the next version, or the differences
//	data of an older version -> Reader: upcast, checked -> data of the version that is read
//
// Everything in a Subject is data, and what is done with it is pure. A [Store] keeps subjects on a node, a [Folder] beside the
// manifests, for use without one.
package contract

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"polity.run/fault"
	"polity.run/schema"
)

// The limits of a contract. What exceeds one is fault.Invalid.
const (
	NameMax     = 200  // bytes of a subject's name
	VersionsMax = 1000 // of one subject
	GoldenMax   = 1000 // golden data of one version
)

// Subject is an event type, one side of a skill, or a signal, with all versions of its schema.
type Subject struct {
	// Name is an event type as orders.placed, which is a topic's name; skill:AGENT/SKILL/in and skill:AGENT/SKILL/out; or signal:AGENT/SIGNAL.
	Name string `json:"subject"`
	schema.Policy
	Versions []Version `json:"versions"` // the first is version 1
}

// Version is one version of a subject.
type Version struct {
	Schema json.RawMessage `json:"schema"`
	// Upcast makes data of the version before into data of this one. Without it this version reads that data as it is.
	Upcast schema.Mapping `json:"upcast,omitempty"`
	// Golden is data of this version that later versions have to read.
	Golden []json.RawMessage `json:"golden,omitempty"`
}

var (
	eventName  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*$`)
	skillName  = regexp.MustCompile(`^skill:[a-z0-9][a-z0-9_-]*/[A-Za-z0-9][A-Za-z0-9._-]*/(in|out)$`)
	signalName = regexp.MustCompile(`^signal:[a-z0-9][a-z0-9_-]*/[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)
	typeName   = regexp.MustCompile(`^(.+)\.v([1-9][0-9]{0,5})$`)
)

// CheckName returns fault.Invalid for what is no name of a subject.
func CheckName(name string) error {
	switch {
	case len(name) > NameMax:
		return fault.Invalid.New("subject %.40q...: longer than %d bytes", name, NameMax)
	case typeName.MatchString(name):
		return fault.Invalid.New("subject %q: it ends like a version; leave .v and the number out", name)
	case eventName.MatchString(name), skillName.MatchString(name), signalName.MatchString(name):
		return nil
	case strings.HasPrefix(name, "signal:"):
		return fault.Invalid.New("subject %q: want signal:AGENT/SIGNAL", name)
	case strings.HasPrefix(name, "skill:"):
		return fault.Invalid.New("subject %q: want skill:AGENT/SKILL/in or skill:AGENT/SKILL/out", name)
	default:
		return fault.Invalid.New("subject %q: want an event type of small letters and digits, as in orders.placed, or skill:AGENT/SKILL/in", name)
	}
}

// SkillSubject names what a skill is asked (in) or answers (out).
func SkillSubject(agent, skill string, out bool) string {
	side := "in"
	if out {
		side = "out"
	}
	return "skill:" + agent + "/" + skill + "/" + side
}

// SignalSubject names what the runs of an agent are told.
func SignalSubject(agent, signal string) string { return "signal:" + agent + "/" + signal }

// DefaultMode is what a subject is held to where nobody says otherwise: events are read by who is upgraded first, and the sides of a skill,
// and signals, must fit whoever of the two is.
func DefaultMode(name string) schema.Mode {
	if strings.HasPrefix(name, "skill:") || strings.HasPrefix(name, "signal:") {
		return schema.Full
	}
	return schema.Backward
}

// Type is the name of one version, as the attribute type of a CloudEvents 1.0 event has it: orders.placed.v2.
func Type(name string, version int) string { return name + ".v" + strconv.Itoa(version) }

// ParseType takes a subject's name and a version apart. Without a version it is 0, which stands for the newest.
func ParseType(text string) (name string, version int, err error) {
	name = text
	if m := typeName.FindStringSubmatch(text); m != nil {
		if version, err = strconv.Atoi(m[2]); err != nil {
			return "", 0, fault.Invalid.New("type %.80q: %w", text, err)
		}
		name = m[1]
	}
	return name, version, CheckName(name)
}

// Newest is the number of the newest version; 0 if there is none.
func (s *Subject) Newest() int { return len(s.Versions) }

// Version returns a version by its number, 0 for the newest, or fault.NotFound.
func (s *Subject) Version(number int) (*Version, error) {
	if number == 0 {
		number = s.Newest()
	}
	if number < 1 || number > s.Newest() {
		return nil, fault.NotFound.New("%s has no version %d; the newest is %s", s.Name, number, Type(s.Name, s.Newest()))
	}
	return &s.Versions[number-1], nil
}

// Digest is the hex SHA-256 of what a version promises: its schema and upcast, however they are written.
func (v *Version) Digest() (string, error) {
	raw, err := schema.Canonical(orAny(v.Schema))
	if err != nil {
		return "", fault.Invalid.New("schema: %w", err)
	}
	upcast, err := json.Marshal(v.Upcast)
	if err != nil {
		return "", fault.Invalid.New("upcast: %w", err)
	}
	sum := sha256.Sum256(slices.Concat(raw, []byte("\n"), upcast))
	return hex.EncodeToString(sum[:]), nil
}

// orAny is the schema that accepts every value where there is none.
func orAny(raw json.RawMessage) json.RawMessage {
	if len(bytes.TrimSpace(raw)) == 0 {
		return json.RawMessage(`true`)
	}
	return raw
}

// promises says that the newest version promises the same as v.
func (s *Subject) promises(v *Version) (bool, error) {
	if s.Newest() == 0 {
		return false, nil
	}
	wanted, err1 := v.Digest()
	have, err2 := s.Versions[s.Newest()-1].Digest()
	if err := errors.Join(err1, err2); err != nil {
		return false, fault.Invalid.New("%s: %w", Type(s.Name, s.Newest()+1), err)
	}
	return wanted == have, nil
}

// Add returns the subject with one more version, or the differences that the policy does not allow. An upcast stands for the promise that new readers read
// old data: then it is tried on the golden data of all versions before, of which the last needs some. A
// version like the newest adds nothing. It returns fault.Invalid for a version that cannot be one.
func (s *Subject) Add(v Version) (Subject, []schema.Difference, error) {
	next := *s
	same, err := s.promises(&v)
	if err == nil && !same {
		err = s.sound(&v)
	}
	if err != nil || same {
		return next, nil, err
	}
	next.Versions = append(slices.Clone(s.Versions), v)
	list, err := s.compare(&v)
	if err != nil || len(list) > 0 {
		return *s, list, err
	}
	if err := next.tryGolden(); err != nil {
		return *s, nil, err
	}
	return next, nil, nil
}

// compare lists what is not shown to be compatible with v.
func (s *Subject) compare(v *Version) ([]schema.Difference, error) {
	if s.Newest() == 0 {
		return nil, nil
	}
	from := 0 // the first version whose data reaches v as it is
	for i, one := range append(slices.Clone(s.Versions), *v) {
		if len(one.Upcast) > 0 {
			from = i
		}
	}
	var out []schema.Difference
	for i := range s.Versions {
		if !s.Mode.Transitive() && i < s.Newest()-1 {
			continue
		}
		policy := s.Policy
		if i < from { // an upcast reads it: what is left is whether old readers read new data
			policy.Mode = schema.None
			if s.Mode.Forward() {
				policy.Mode = schema.Forward
			}
		}
		list, err := schema.Compatible([]json.RawMessage{s.Versions[i].Schema}, v.Schema, policy)
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			d.With = i + 1
			out = append(out, d)
		}
	}
	return out, nil
}

// sound returns why v cannot be a version.
func (s *Subject) sound(v *Version) error {
	if err := CheckName(s.Name); err != nil {
		return err
	}
	if err := s.Mode.Check(); err != nil {
		return fault.Invalid.New("%s: %w", s.Name, err)
	}
	number := s.Newest() + 1
	what := Type(s.Name, number)
	compiled, err := schema.Compile(v.Schema)
	if err != nil {
		return fault.Invalid.New("%s: %w", what, err)
	}
	switch {
	case number > VersionsMax:
		return fault.Invalid.New("%s: more than %d versions; begin a new subject", s.Name, VersionsMax)
	case len(v.Golden) > GoldenMax:
		return fault.Invalid.New("%s: %d golden data; at most %d are allowed", what, len(v.Golden), GoldenMax)
	case len(v.Upcast) > 0 && number == 1:
		return fault.Invalid.New("%s: there is no version before that could be upcast", what)
	case len(v.Upcast) > 0 && len(s.Versions[number-2].Golden) == 0:
		return fault.Invalid.New("%s: an upcast is tried on golden data, and version %d has none; register some with it", what, number-1)
	}
	if err := v.Upcast.Check(); err != nil {
		return fault.Invalid.New("%s: upcast: %w", what, err)
	}
	for i, data := range v.Golden {
		if err := compiled.Check(data); err != nil {
			return fault.Invalid.New("%s: golden data %d: %w", what, i+1, err)
		}
	}
	return nil
}

// tryGolden reads the golden data of all versions as the newest.
func (s *Subject) tryGolden() error {
	if !s.Mode.Backward() {
		return nil
	}
	for i := range s.Versions {
		if i < s.Newest()-2 && !s.Mode.Transitive() && !s.upcasts(i+1) {
			continue
		}
		r, err := s.Reader(schema.Range{From: i + 1, To: s.Newest()})
		if err != nil {
			return err
		}
		for k, data := range s.Versions[i].Golden {
			if _, err := r.Read(i+1, data); err != nil {
				return fault.Conflict.New("%s: golden data %d of version %d: %w", Type(s.Name, s.Newest()), k+1, i+1, err)
			}
		}
	}
	return nil
}

// upcasts says whether there is an upcast on the way from a version to the newest.
func (s *Subject) upcasts(from int) bool {
	return slices.ContainsFunc(s.Versions[from:], func(v Version) bool { return len(v.Upcast) > 0 })
}

// Finding is what is wrong with a version that is there already.
type Finding struct {
	Version     int                 `json:"version"`
	Differences []schema.Difference `json:"differences,omitempty"`
	Fault       *fault.Error        `json:"fault,omitempty"`
}

// Check adds all versions again, one after the other, and returns what is wrong with them.
func (s *Subject) Check() []Finding {
	var out []Finding
	grown := Subject{Name: s.Name, Policy: s.Policy}
	for i, v := range s.Versions {
		next, list, err := grown.Add(v)
		if err == nil && len(list) == 0 && next.Newest() == grown.Newest() {
			err = fault.Invalid.New("it promises the same as version %d", grown.Newest())
		}
		if err != nil || len(list) > 0 {
			f := Finding{Version: i + 1, Differences: list}
			if err != nil {
				f.Fault = fault.Of(err)
			}
			out = append(out, f)
		}
		grown.Versions = s.Versions[:i+1]
	}
	return out
}

// Reader reads data of some versions of a subject. It is safe for concurrent use and does not change.
type Reader struct {
	name    string
	reads   schema.Range
	upcasts schema.Upcasts[json.RawMessage]
	checks  []*schema.Schema // by version, from 1
	ahead   int              // the newest version up to which none after reads says that it has to be upcast
}

// Reader returns a reader of the versions in the range, whose newest is what it gives. It returns fault.NotFound for versions
// that there are not.
func (s *Subject) Reader(reads schema.Range) (*Reader, error) {
	if _, err := s.Version(max(reads.To, 1)); err != nil {
		return nil, err
	}
	if reads.From < 1 || reads.From > reads.To {
		return nil, fault.Invalid.New("%s: versions %s are no range", s.Name, reads)
	}
	r := &Reader{name: s.Name, reads: reads}
	for i, v := range s.Versions[:reads.To] {
		check, err := schema.Compile(v.Schema)
		if err != nil {
			return nil, fault.Invalid.New("%s: %w", Type(s.Name, i+1), err)
		}
		r.checks = append(r.checks, check)
		if i == 0 {
			continue
		}
		var step func(json.RawMessage) (json.RawMessage, error)
		if len(v.Upcast) > 0 {
			step = v.Upcast.Apply
		}
		r.upcasts = append(r.upcasts, step)
	}
	r.ahead = reads.To
	for r.ahead < s.Newest() && len(s.Versions[r.ahead].Upcast) == 0 {
		r.ahead++
	}
	return r, nil
}

// Take reads data as Read does, and more: data of a version after the range as it is, if it is valid for the newest of the range and no
// version between says that data has to be upcast, which would mean that words changed their meaning; and data of no version, which is 0, if
// it is valid for the newest.
func (r *Reader) Take(version int, data json.RawMessage) (json.RawMessage, error) {
	newest := r.reads.To
	if version > 0 && (version <= newest || version > r.ahead) {
		return r.Read(version, data)
	}
	if err := r.checks[newest-1].Check(data); err != nil {
		what := "data of no version"
		if version > 0 {
			what = Type(r.name, version)
		}
		return nil, fault.Invalid.New("%s, which is newer than what is read here (%s) or unknown, is not valid as %s: %w", what, r.reads, Type(r.name, newest), err)
	}
	return data, nil
}

// Understood says whether data of a version is read by whoever reads a range of versions: nil, or fault.Conflict with why not.
func (s *Subject) Understood(version int, by schema.Range) error {
	switch {
	case version < by.From:
		return fault.Conflict.New("%s is older than what is read, which is %s", Type(s.Name, version), by)
	case version <= by.To:
		return nil
	}
	for number := by.To + 1; number <= version; number++ {
		if len(s.Versions[number-1].Upcast) > 0 {
			return fault.Conflict.New("%s says otherwise what versions before it say, and what is read is %s", Type(s.Name, number), by)
		}
	}
	policy := schema.Policy{Mode: schema.Forward, Declared: s.Declared}
	list, err := schema.Compatible([]json.RawMessage{s.Versions[by.To-1].Schema}, s.Versions[version-1].Schema, policy)
	if err != nil {
		return err
	}
	return schema.Refusal(fmt.Sprintf("%s is not shown to be understood by whoever reads %s", Type(s.Name, version), by), list)
}

// Read returns data of a version as data of the newest version that r reads. It returns fault.Invalid for a version outside of the
// range, for data that is not of its version, and for data that could not be made into the newest.
func (r *Reader) Read(version int, data json.RawMessage) (json.RawMessage, error) {
	if version >= r.reads.From && version <= r.reads.To {
		if err := r.checks[version-1].Check(data); err != nil {
			return nil, fault.Invalid.New("%s: %w", Type(r.name, version), err)
		}
	}
	out, err := r.upcasts.Read(data, version, r.reads)
	if err != nil {
		return nil, fault.Of(err).Kind.New("%s: %w", r.name, err)
	}
	if version == r.reads.To {
		return out, nil
	}
	if err := r.checks[r.reads.To-1].Check(out); err != nil {
		return nil, fault.Invalid.New("%s, read as version %d: %w", Type(r.name, version), r.reads.To, err)
	}
	return out, nil
}

// refusal words why a version was not added.
func (s *Subject) refusal(list []schema.Difference) error {
	return schema.Refusal(fmt.Sprintf("%s does not fit what is there (mode %s)", Type(s.Name, s.Newest()+1), s.Mode), list)
}

// Fits compares a schema that is used with those that are registered: it is one of them, or could be the next, or the differences
// say why not. A schema that could be the next is held to by nobody until it is registered.
func (s *Subject) Fits(raw json.RawMessage) ([]schema.Difference, error) {
	if _, err := s.Uses(raw); err == nil || !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	_, list, err := s.Add(Version{Schema: raw})
	return list, err
}

// Uses returns the number of the newest version that accepts exactly what a schema that is used does, or fault.NotFound.
func (s *Subject) Uses(raw json.RawMessage) (int, error) {
	for i := s.Newest() - 1; i >= 0; i-- {
		list, err := schema.Compatible([]json.RawMessage{s.Versions[i].Schema}, raw, schema.Policy{Mode: schema.Full})
		if err != nil {
			return 0, err
		}
		if len(list) == 0 {
			return i + 1, nil
		}
	}
	return 0, fault.NotFound.New("%s: no registered version accepts exactly what is used", s.Name)
}
