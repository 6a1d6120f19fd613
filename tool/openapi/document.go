package openapi

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"polity.run/fault"
)

// document is an OpenAPI document that was read.
type document struct {
	root *node
}

// parse reads a document and says whether it is one that can be used.
func parse(data []byte) (*document, error) {
	root, err := read(data)
	if err != nil {
		return nil, err
	}
	version := root.word("openapi")
	switch {
	case root.get("swagger") != nil:
		return nil, fault.Invalid.New("the document is Swagger %.20s; convert it to OpenAPI 3", root.word("swagger"))
	case version == "":
		return nil, fault.Invalid.New(`the document is no OpenAPI document: it has no field "openapi"`)
	case !versionText.MatchString(version):
		return nil, fault.Invalid.New("the document is OpenAPI %.20s; versions 3.0 and 3.1 are known", version)
	case root.get("paths") == nil || len(root.get("paths").keys) == 0:
		return nil, fault.Invalid.New("the document has no paths, so there is nothing to call")
	}
	return &document{root}, nil
}

var versionText = regexp.MustCompile(`^3\.[01](\.[0-9]+)?$`)

// old says whether a $ref hides its siblings, as it does before 3.1.
func (d *document) old() bool { return strings.HasPrefix(d.root.word("openapi"), "3.0") }

// resolve follows the references of a node that is no schema.
func (d *document) resolve(n *node) (*node, error) {
	for range refsMax {
		ref := n.get("$ref")
		if ref == nil {
			return n, nil
		}
		next, err := d.at(ref.text)
		if err != nil {
			return nil, err
		}
		n = next
	}
	return nil, fault.Invalid.New("references lead to references more than %d times", refsMax)
}

// at returns what a reference means.
func (d *document) at(ref string) (*node, error) {
	path, local := strings.CutPrefix(ref, "#/")
	if !local {
		return nil, fault.Invalid.New("$ref %.200q leads out of the document; bundle everything into one file", ref)
	}
	n := d.root
	for _, part := range strings.Split(path, "/") {
		if plain, err := url.PathUnescape(part); err == nil {
			part = plain
		}
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		next := n.get(part)
		if i, err := strconv.Atoi(part); next == nil && err == nil && i >= 0 && i < len(n.items) {
			next = n.items[i]
		}
		if next == nil {
			return nil, fault.Invalid.New("$ref %.200q leads nowhere: there is no %.100q", ref, part)
		}
		n = next
	}
	return n, nil
}

// server returns the address that the paths of an operation are below. The nearest list of servers counts.
func (d *document) server(given string, around ...*node) (string, error) {
	address := given
	if address == "" {
		for _, n := range append(around, d.root) {
			if list := n.list("servers"); len(list) > 0 {
				address = fill(list[0])
				break
			}
		}
	}
	u, err := url.Parse(address)
	switch {
	case address == "":
		return "", fault.Invalid.New(`the document names no server; set "server"`)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", fault.Invalid.New(`the server %.200q is no whole address; set "server", as in https://api.example.com/v2`, address)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(address, "{}"):
		return "", fault.Invalid.New(`the server %.200q has a user, a question mark, a # or a variable without a default in it; set "server" without`, address)
	}
	return strings.TrimRight(address, "/"), nil
}

// fill is a server's address with the defaults of its variables.
func fill(server *node) string {
	address := server.word("url")
	variables := server.get("variables")
	if variables == nil {
		return address
	}
	for _, name := range variables.keys {
		if v := variables.fields[name].word("default"); v != "" {
			address = strings.ReplaceAll(address, "{"+name+"}", v)
		}
	}
	return address
}

// missing returns the headers that an operation's security asks for and nobody declares, "" if nothing is missing. Of several
// ways to be let in, one is enough.
func (d *document) missing(operation *node, declared []string) string {
	ways := operation.get("security")
	if ways == nil {
		ways = d.root.get("security")
	}
	if ways == nil || len(ways.items) == 0 {
		return ""
	}
	first := ""
	for _, way := range ways.items {
		lacks := ""
		for _, name := range way.keys {
			if need := d.need(name); need != "" && !slices.ContainsFunc(declared, func(h string) bool { return strings.EqualFold("header "+h, need) }) {
				lacks = need + " (" + name + ")"
			}
		}
		if lacks == "" {
			return ""
		}
		if first == "" {
			first = lacks
		}
	}
	return first
}

// need is what a security scheme asks for.
func (d *document) need(name string) string {
	scheme, err := d.resolve(d.root.get("components").get("securitySchemes").get(name))
	if err != nil || scheme == nil {
		return "an unknown scheme"
	}
	switch scheme.word("type") {
	case "apiKey":
		return scheme.word("in") + " " + scheme.word("name")
	case "mutualTLS":
		return "a client's certificate"
	default:
		return "header Authorization"
	}
}
