package polity_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestFloors compares the floor table of ARCHITECTURE.md with the code.
func TestFloors(t *testing.T) {
	floors := readFloors(t)
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		floor, ok := floors[p.ImportPath]
		if !ok {
			t.Errorf("%s has no floor in ARCHITECTURE.md", p.ImportPath)
			continue
		}
		delete(floors, p.ImportPath)
		seen++
		for _, imported := range p.Imports {
			if imported != "polity.run" && !strings.HasPrefix(imported, "polity.run/") {
				continue
			}
			if under, ok := readFloors(t)[imported]; ok && under >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d)", p.ImportPath, floor, imported, under)
			}
		}
	}
	for gone := range floors {
		t.Errorf("ARCHITECTURE.md lists %s, which is gone", gone)
	}
	if seen < 10 {
		t.Errorf("only %d packages were compared", seen)
	}
}

var floorRow = regexp.MustCompile("^\\| (\\d+) \\| `([^`]+)` \\|")

func readFloors(t *testing.T) map[string]int {
	t.Helper()
	f, err := os.Open("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	floors := map[string]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if m := floorRow.FindStringSubmatch(lines.Text()); m != nil {
			floors[m[2]], _ = strconv.Atoi(m[1])
		}
	}
	return floors
}

// owners says which package alone may import what comes from outside.
var owners = map[string][]string{
	"github.com/nats-io/":                   {"polity.run/internal/bus", "polity.run/remote"},
	"github.com/santhosh-tekuri/jsonschema": {"polity.run/schema"},
	"github.com/google/jsonschema-go":       {"polity.run/schema", "polity.run/manifest"},
	"github.com/spf13/cobra":                {"polity.run/internal/cli"},
	"go.yaml.in/yaml":                       {"polity.run/manifest", "polity.run/internal/scenario", "polity.run/tool/openapi"},
	"github.com/google/licensecheck":        {"polity.run/tool/code"},
	"github.com/pelletier/go-toml":          {"polity.run/tool/code"},
	"golang.org/x/mod":                      {"polity.run/tool/code"},
	"github.com/modelcontextprotocol/":      {"polity.run/tool/mcp"},
	"github.com/sashabaranov/go-openai":     {"polity.run/model/openai"},
	"github.com/cenkalti/backoff":           {"polity.run/model/provider"},
	"golang.org/x/sys":                      {"polity.run/internal/sandbox"},
	"golang.org/x/time":                     {"polity.run/model/provider", "polity.run/internal/gateway/door"},
	"modernc.org/sqlite":                    {"polity.run/internal/view"},
	"go.opentelemetry.io/":                  {"polity.run/internal/telemetry"},
	"github.com/prometheus/":                {"polity.run/internal/telemetry"},
	"github.com/klauspost/compress":         {"polity.run/internal/zstd"},
	"github.com/minio/highwayhash":          {"polity.run/internal/bus"},
}

// TestOneOutsideThingOnePackage keeps every vendor in its package.
func TestOneOutsideThingOnePackage(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		for _, imported := range words[1:] {
			for prefix, allowed := range owners {
				if !strings.HasPrefix(imported, prefix) {
					continue
				}
				found[prefix] = true
				if !slices.Contains(allowed, words[0]) {
					t.Errorf("%s imports %s, which only %v may", words[0], imported, allowed)
				}
			}
		}
	}
	for prefix := range owners {
		if !found[prefix] {
			t.Errorf("nothing imports %s any more", prefix)
		}
	}
}
