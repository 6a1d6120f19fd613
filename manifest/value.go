package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"polity.run"
	"polity.run/agent"
	"polity.run/model"
	"polity.run/pattern"
	"polity.run/tool"
)

// Limits of single values.
const (
	countMax   = 1_000_000_000_000
	triesMax   = 20
	usdMax     = 1_000_000 // US dollars
	wallMax    = 30 * 24 * time.Hour
	sizeMax    = 64 << 20 // bytes
	stepIDMax  = 40       // bytes
	usdFigures = 6        // decimals
)

var nameText = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

const nameWant = "a-z, 0-9, '-' and '_', beginning with a letter or digit"

// word is a name: polity.AgentName's rule, which holds for skills too.
type word string

func (word) shape() shape { return shape{nameText, polity.NameMax, nameWant} }

// stepID is the name of a step.
type stepID string

func (stepID) shape() shape { return shape{nameText, stepIDMax, nameWant} }

// count is a number of at least one: in the nouns zero stands for a default, so writing it here
// would say something else than it does.
type count int64

func (count) limits() (least, most int64) { return 1, countMax }

// tries is how often something is tried again.
type tries int

func (tries) limits() (least, most int64) { return 0, triesMax }

// steps, repairs, attempts and atOnce are small numbers with their own limits.
type (
	steps    int
	repairs  int
	attempts int
	atOnce   int
	asks     int
	recalls  int
	// processes is how many a program may be.
	processes int
)

func (processes) limits() (least, most int64) { return 1, 100_000 }
func (steps) limits() (least, most int64)     { return 1, agent.StepsMax }
func (repairs) limits() (least, most int64)   { return 0, agent.RepairsMax }
func (attempts) limits() (least, most int64)  { return 1, model.AttemptsMax }
func (asks) limits() (least, most int64)      { return 1, tool.AskAttemptsMax }
func (atOnce) limits() (least, most int64)    { return 1, 1000 }
func (recalls) limits() (least, most int64)   { return 0, agent.RecallMax }

// span, levels and rework are what a hierarchy may measure.
type (
	span   int
	levels int
	rework int
)

func (span) limits() (least, most int64)   { return 1, pattern.SpanMax }
func (levels) limits() (least, most int64) { return 1, pattern.LevelsMax }
func (rework) limits() (least, most int64) { return 0, pattern.ReworkMax }

// perMillion is a price in thousandths of a US dollar per million tokens, written in dollars.
type perMillion int64

const perMillionMax = 100_000 // US dollars

var perMillionText = regexp.MustCompile(`^(\d{1,6})(?:\.(\d{1,3}))?$`)

func (p *perMillion) read(d *decoder, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!float" {
		d.mismatch(n, "a price in US dollars per million tokens such as 0.15", "")
		return
	}
	parts := perMillionText.FindStringSubmatch(n.Value)
	if parts == nil {
		d.add(clip(n.Value)+" is not a price in US dollars per million tokens", "write it with at most three decimals, as in 0.15")
		return
	}
	v, err := strconv.ParseInt(parts[1]+parts[2]+strings.Repeat("0", 3-len(parts[2])), 10, 64)
	if err != nil || v > perMillionMax*1000 {
		d.add(fmt.Sprintf("the price is more than %d", perMillionMax), "")
		return
	}
	*p = perMillion(v)
}

// share is a part of a whole in hundredths, written as in 0.8.
type share int

var shareText = regexp.MustCompile(`^(?:0?\.(\d{1,2})|1(?:\.00?)?)$`)

func (s *share) read(d *decoder, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!float" {
		d.mismatch(n, "a share such as 0.8", "")
		return
	}
	parts := shareText.FindStringSubmatch(n.Value)
	if parts == nil {
		d.add(clip(n.Value)+" is not a share", "write it with at most two decimals, as in 0.8; 1 is all")
		return
	}
	*s = 100
	if decimals := parts[1]; decimals != "" {
		v, err := strconv.Atoi((decimals + "0")[:2])
		if err != nil || v == 0 {
			d.add("the share is nothing, which would stand for the default", "leave the field out, or write more")
			return
		}
		*s = share(v)
	}
}

// reserve is a share that leaves something.
type reserve share

func (r *reserve) read(d *decoder, n *yaml.Node) {
	if (*share)(r).read(d, n); *r > polity.UndoReserveMax {
		d.add(clip(n.Value)+" leaves too little for what is to be done", fmt.Sprintf("write at most %.1f", float64(polity.UndoReserveMax)/100))
	}
}

// agentUse is an agent that a model may ask.
type agentUse struct {
	Agent  word   `json:"agent" jsonschema:"Name of the agent."`
	Skill  word   `json:"skill,omitempty" jsonschema:"Skill that is asked; it may be left out if the agent has one."`
	Bounds bounds `json:"bounds,omitempty" jsonschema:"Limits that are delegated to each question."`
}

func (a *agentUse) read(d *decoder, n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		d.fields(n, reflect.ValueOf(a).Elem())
		return
	}
	if d.scalar(n, "the name of an agent", "!!str") {
		a.Agent = word(n.Value)
	}
}

func (t *department) read(d *decoder, n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		d.fields(n, reflect.ValueOf(t).Elem())
		return
	}
	if d.scalar(n, "a department, or the name of an agent", "!!str") {
		t.Name = word(n.Value)
	}
}

// money is an amount in millionths of a US dollar, written in dollars.
type money int64

var moneyText = regexp.MustCompile(`^(\d{1,9})(?:\.(\d+))?$`)

func (m *money) read(d *decoder, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!float" {
		d.mismatch(n, "an amount of US dollars such as 1.50", "")
		return
	}
	parts := moneyText.FindStringSubmatch(n.Value)
	switch {
	case strings.HasPrefix(n.Value, "-"):
		d.add("the amount "+clip(n.Value)+" is negative", "leave the field out for the default")
	case parts == nil:
		d.add(clip(n.Value)+" is not an amount of US dollars", "write it as in 1.50")
	case len(parts[2]) > usdFigures:
		d.add(fmt.Sprintf("the amount %s has more than %d decimals", clip(n.Value), usdFigures), "round it")
	default:
		m.set(d, parts[1], parts[2])
	}
}

func (m *money) set(d *decoder, whole, decimals string) {
	micro, err := strconv.ParseInt(whole+decimals+strings.Repeat("0", usdFigures-len(decimals)), 10, 64)
	switch {
	case err != nil || micro > usdMax*1_000_000:
		d.add(fmt.Sprintf("the amount is more than %d", usdMax), "")
	case micro == 0:
		d.add("the amount is nothing, which would stand for the default", "leave the field out, or allow more")
	default:
		*m = money(micro)
	}
}

// durationText is the part of what time.ParseDuration reads that a person would write.
var durationText = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`)

// duration is a time with its unit.
type duration time.Duration

func (t *duration) read(d *decoder, n *yaml.Node) {
	const want = "a time with its unit, such as 30s or 10m"
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		fix := ""
		if n.ShortTag() == "!!int" {
			fix = fmt.Sprintf("did you mean %ss?", clip(n.Value))
		}
		d.mismatch(n, want, fix)
		return
	}
	v, err := time.ParseDuration(n.Value)
	negative := strings.HasPrefix(n.Value, "-") && err == nil
	switch {
	case !negative && (err != nil || !durationText.MatchString(n.Value)):
		d.add(shown(n.Value)+" is not a time", "write it with a unit: ms, s, m or h, as in 90s")
	case v <= 0:
		d.add(shown(n.Value)+" is no time at all", "leave the field out for the default")
	case v > wallMax:
		d.add(fmt.Sprintf("%s is more than %s", shown(n.Value), wallMax), "")
	default:
		*t = duration(v)
	}
}

// instant is a point in time, with its offset from UTC.
type instant time.Time

var instantText = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})$`)

func (t *instant) read(d *decoder, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || !isText(n) {
		d.mismatch(n, "a time such as 2026-12-24T08:00:00+01:00", "")
		return
	}
	v, err := time.Parse(time.RFC3339, n.Value)
	if err != nil || !instantText.MatchString(n.Value) {
		d.add(shown(n.Value)+" is not a time", "write it with the offset from UTC, as in 2026-12-24T08:00:00+01:00, or with Z for UTC")
		return
	}
	*t = instant(v)
}

// size is a number of bytes.
type size int

var sizeText = regexp.MustCompile(`^([1-9][0-9]{0,11})(B|KiB|MiB)?$`)

func (s *size) read(d *decoder, n *yaml.Node) { *s = size(d.bytes(n, sizeText, sizeMax)) }

// capacity is a number of bytes of memory or of a disk.
type capacity int64

const capacityMax = 1 << 40 // bytes

var capacityText = regexp.MustCompile(`^([1-9][0-9]{0,12})(B|KiB|MiB|GiB)?$`)

func (c *capacity) read(d *decoder, n *yaml.Node) {
	*c = capacity(d.bytes(n, capacityText, capacityMax))
}

// bytes reads a number of bytes that is written as text says. It reports what is wrong and then returns 0.
func (d *decoder) bytes(n *yaml.Node, text *regexp.Regexp, most int64) int64 {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" && n.ShortTag() != "!!int" {
		d.mismatch(n, "a number of bytes such as 64KiB or 1MiB", "")
		return 0
	}
	parts := text.FindStringSubmatch(n.Value)
	if parts == nil {
		d.add(shown(n.Value)+" is not a number of bytes", "write it as in 65536, 64KiB or 1MiB")
		return 0
	}
	unit := map[string]int64{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[parts[2]]
	v, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || v > most/unit {
		d.add(fmt.Sprintf("%s is more than %dMiB", n.Value, most>>20), "")
		return 0
	}
	return v * unit
}

// value is any JSON, written as YAML.
type value struct{ json json.RawMessage }

func (v *value) read(d *decoder, n *yaml.Node) {
	if text, ok := d.json(n); ok {
		v.json = text
	}
}

// schemaUse is a JSON Schema that is written in place, or the name of a file that holds it.
type schemaUse struct {
	json json.RawMessage
	file string
}

func (s *schemaUse) read(d *decoder, n *yaml.Node) {
	switch {
	case n.Kind == yaml.ScalarNode && isText(n) && n.Value != "":
		s.file = n.Value
	case n.Kind == yaml.MappingNode:
		if text, ok := d.json(n); ok {
			s.json = text
		}
	default:
		d.mismatch(n, "a JSON Schema, or the name of a file that holds one", "")
	}
}

// toolUse is a tool, and what it is always given.
type toolUse struct {
	Name  string `json:"name" jsonschema:"Name of the tool."`
	Input value  `json:"input,omitempty" jsonschema:"What the tool is given; left out it is {}."`
}

func (t *toolUse) read(d *decoder, n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		d.fields(n, reflect.ValueOf(t).Elem())
		return
	}
	if d.scalar(n, "the name of a tool", "!!str") {
		t.Name = n.Value
	}
}

// json writes a node as JSON. Mappings keep their order, since a schema's order is read by models
// and people. It reports what JSON does not have and then says false.
func (d *decoder) json(n *yaml.Node) (json.RawMessage, bool) {
	var b bytes.Buffer
	before := len(d.log.found) + d.log.dropped
	d.writeJSON(&b, n)
	return b.Bytes(), len(d.log.found)+d.log.dropped == before
}

func (d *decoder) writeJSON(b *bytes.Buffer, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			writeText(b, n.Content[i].Value)
			b.WriteByte(':')
			d.writeJSON(b, n.Content[i+1])
		}
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			d.writeJSON(b, item)
		}
		b.WriteByte(']')
	default:
		d.writeScalar(b, n)
	}
}

// jsonNumberText is how JSON writes a number. YAML's other ways are refused, not converted: 010 is
// eight to one reader and ten to the next.
var jsonNumberText = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func (d *decoder) writeScalar(b *bytes.Buffer, n *yaml.Node) {
	switch n.ShortTag() {
	case "!!null":
		b.WriteString("null")
	case "!!bool":
		b.WriteString(strings.ToLower(n.Value))
	case "!!int", "!!float":
		if !jsonNumberText.MatchString(n.Value) {
			d.log.add(place{n.Line, n.Column}, d.path, clip(n.Value)+" is not a number that JSON has", "write it in decimal digits, or in quotes")
		}
		b.WriteString(n.Value)
	default:
		writeText(b, n.Value)
	}
}

// writeText writes a JSON string.
func writeText(b *bytes.Buffer, text string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		panic("manifest: a string is not JSON: " + err.Error()) // cannot be: every string is
	}
	b.Truncate(b.Len() - 1) // the encoder's newline
}
