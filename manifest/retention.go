package manifest

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"

	"polity.run"
	"polity.run/agent"
)

// Bounds of how long runs are kept.
const (
	keepMin = time.Hour
	keepMax = 100 * 365 * 24 * time.Hour
)

// retention is an agent.Retention.
type retention struct {
	Keep    age   `json:"keep" jsonschema:"How long a run is kept after it ended, as in 90d; at least 1h, at most 36500d."`
	Archive *bool `json:"archive,omitempty" jsonschema:"What becomes of it then: true writes it into an archive, false deletes it if it has a key of its own. Left out it is true."`
}

// retains makes the organization's rule for old runs.
func (b *builder) retains() *agent.Retention {
	w := b.file.Retention
	if w == nil {
		return nil
	}
	return &agent.Retention{Keep: polity.Duration(w.Keep), Archive: w.Archive == nil || *w.Archive}
}

// ageText is a number of hours, days or weeks.
var ageText = regexp.MustCompile(`^([1-9][0-9]{0,6})(h|d|w)$`)

// age is a long time in one unit.
type age time.Duration

var ageUnits = map[string]time.Duration{"h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}

func (t *age) read(d *decoder, n *yaml.Node) {
	const want = "a time in hours, days or weeks, such as 36h, 90d or 4w"
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		fix := ""
		if n.ShortTag() == "!!int" {
			fix = fmt.Sprintf("did you mean %sd?", clip(n.Value))
		}
		d.mismatch(n, want, fix)
		return
	}
	m := ageText.FindStringSubmatch(n.Value)
	if m == nil {
		d.add(shown(n.Value)+" is not "+want, "")
		return
	}
	count, err := strconv.Atoi(m[1])
	switch v := time.Duration(count) * ageUnits[m[2]]; {
	case err != nil || v > keepMax || v/ageUnits[m[2]] != time.Duration(count):
		d.add(shown(n.Value)+" is more than 36500d", "leave retention out to keep runs for good")
	case v < keepMin:
		d.add(shown(n.Value)+" is less than 1h", "")
	default:
		*t = age(v)
	}
}

func (age) form() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: ageText.String()}
}
