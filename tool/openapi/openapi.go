// Package openapi makes tools of OpenAPI documents.
//
// It exists so that a service that describes itself needs no second description. What it makes is the declaration that package web makes tools
// of, so that a release pins requests and schemas, and nobody needs the document later:
//
//	document, JSON or YAML -> nodes within limits -> operations that are meant -> parameters, body, schemas -> tool.HTTP
//
// A document comes from strangers: nothing outside of it is read, its references and aliases are followed within limits, and all
// that cannot be sent is said at once, each with its line and its operation.
package openapi

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
	"polity.run/tool"
	"polity.run/tool/dial"
)

// Limits of a document.
const (
	DocumentMax    = 16 << 20  // bytes
	NodesMax       = 1_000_000 // values, aliases written out
	DepthMax       = 100       // lists and objects inside each other
	refsMax        = 32        // references that lead to references
	partsMax       = 100_000   // parts of one tool's schemas, as often as they are looked at
	schemaMax      = 256 << 10 // bytes of one schema, what it refers to included
	descriptionMax = 1024      // bytes of a description
	operationsMax  = 10_000    // of a document
	patternsMax    = 256       // that select operations
	hintsMax       = 10        // patterns that match nothing for which a near name is looked for
	problemsMax    = 100
)

// Use says what is made of a document.
type Use struct {
	Source string // name of the source; with a dot it begins the names of the tools
	// Operations are IDs of operations, names of tools, or method and path as in "GET /pets"; * stands for any text, and ! before one leaves
	// it out again. The last one that matches decides. Empty is all.
	Operations []string
	Server     string // address that paths are below; "" is the document's own
	// CheckOutput makes what the document says of answers the schema of the output. Else an answer is any JSON.
	CheckOutput bool
	Timeout     polity.Duration // of one call; 0 is the default
	// Allow, Private and Headers are those of tool.HTTP. A parameter that is among Headers is not part of the input.
	Allow   []string
	Private bool
	Headers map[string]string
}

// Read makes the declaration of a document's operations as tools, and says what is odd. It returns fault.Invalid with one line for each thing that is wrong. The
// same document gives the same declaration, byte for byte.
func Read(data []byte, use Use) (*tool.HTTP, []string, error) {
	d, err := parse(data)
	if err != nil {
		return nil, nil, err
	}
	all, problems := d.operations(tool.NameMax - len(use.Source) - 1)
	meant, unknown := pick(all, use.Operations)
	problems = append(problems, unknown...)
	if err := distinct(meant); err != nil {
		problems = append(problems, err)
	}
	if n := len(meant); n == 0 && len(unknown) > 0 || n > 0 && n <= tool.HTTPToolsMax {
		return use.declare(d, meant, problems)
	}
	problems = append(problems, fault.Invalid.New("%d of the document's %d operations are meant; select 1 to %d of them with \"operations\"", len(meant), len(all), tool.HTTPToolsMax))
	return nil, nil, errors.Join(problems...)
}

// declare makes the tools of the operations that are meant.
func (u *Use) declare(d *document, meant []*operation, problems []error) (*tool.HTTP, []string, error) {
	out := &tool.HTTP{Allow: u.Allow, Private: u.Private, Headers: u.Headers}
	lacks := map[string][]string{}
	var warnings []string
	for _, o := range meant {
		made, odd, wrong := o.tool(d, u)
		out.Tools = append(out.Tools, made)
		problems = append(problems, wrong...)
		for _, w := range odd {
			if !slices.Contains(warnings, w) && len(warnings) < problemsMax {
				warnings = append(warnings, w)
			}
		}
		if need := d.missing(o.n, slices.Collect(maps.Keys(u.Headers))); need != "" {
			lacks[need] = append(lacks[need], o.shown())
		}
		if len(problems) >= problemsMax {
			break
		}
	}
	for _, need := range slices.Sorted(maps.Keys(lacks)) {
		warnings = append(warnings, fmt.Sprintf("the document asks for a key in %s, which is not declared, for %s", need, few(lacks[need])))
	}
	if len(problems) > 0 {
		return nil, nil, errors.Join(problems...)
	}
	return out, warnings, nil
}

// few names the first of many.
func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// declares says whether the source sets a header itself.
func (u *Use) declares(header string) bool {
	for name := range u.Headers {
		if strings.EqualFold(name, header) {
			return true
		}
	}
	return false
}

// reaches returns nil if an address may be reached.
func (u *Use) reaches(address string) error {
	to, err := url.Parse(address)
	if err != nil {
		return fault.Invalid.New("server: %w", err)
	}
	if !dial.Allowed(u.Allow, to) {
		return fault.Invalid.New("its server %s is not among the hosts of \"allow\": %s", to.Host, strings.Join(u.Allow, ", "))
	}
	return nil
}
