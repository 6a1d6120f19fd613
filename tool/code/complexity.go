package code

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"

	"polity.run/tool/files"
)

// function is one function of the code.
type function struct {
	file, name string
	line       int
	text       string // of its first line
	lines      int
	branches   int  // cyclomatic complexity, or 1 and the branch keywords
	parsed     bool // not a heuristic
}

// functions returns the functions of a file, and whether the file could be understood.
func functions(f source) ([]function, bool) {
	switch {
	case f.lang.name == "Go":
		return goFunctions(f.Path, f.data)
	case f.lang.funcs == nil:
		return nil, true
	case f.lang.indent:
		return indented(f.Path, f.lang, linesOf(f.data)), true
	default:
		return braced(f.Path, f.lang, linesOf(f.data)), true
	}
}

// goFunctions parses a Go file. Function literals count for the function that they stand in.
func goFunctions(name string, data []byte) ([]function, bool) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, data, parser.SkipObjectResolution)
	if err != nil {
		return nil, false
	}
	lines := linesOf(data)
	var out []function
	for _, d := range file.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		first, last := fset.PositionFor(fn.Pos(), false).Line, fset.PositionFor(fn.End(), false).Line
		out = append(out, function{
			file: name, name: goName(fn), line: first, text: lines.at(name, first).Text,
			lines: last - first + 1, branches: cyclomatic(fn.Body), parsed: true,
		})
	}
	return out, true
}

// goName is a function's name with its receiver's type before it.
func goName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	t := fn.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.ParenExpr:
			t = x.X
		case *ast.Ident:
			return x.Name + "." + fn.Name.Name
		default:
			return fn.Name.Name
		}
	}
}

// cyclomatic is one more than the number of places where the way forks. A switch that only looks
// something up, each case being one return or assignment, counts as one fork however long it is.
func cyclomatic(body ast.Node) int {
	n := 1
	ast.Inspect(body, func(node ast.Node) bool {
		switch x := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.SwitchStmt:
			if isLookup(x) {
				n++
				return false
			}
		case *ast.CaseClause:
			if x.List != nil {
				n++
			}
		case *ast.CommClause:
			if x.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if x.Op == token.LAND || x.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}

// isLookup says whether each case of a switch is one return or assignment.
func isLookup(s *ast.SwitchStmt) bool {
	for _, c := range s.Body.List {
		clause, ok := c.(*ast.CaseClause)
		if !ok || len(clause.Body) != 1 {
			return false
		}
		switch clause.Body[0].(type) {
		case *ast.ReturnStmt, *ast.AssignStmt:
		default:
			return false
		}
		for _, e := range clause.List {
			if _, ok := e.(*ast.BinaryExpr); ok {
				return false // a chain of conditions
			}
		}
	}
	return len(s.Body.List) > 0
}

var (
	braceBranch  = regexp.MustCompile(`\b(?:if|for|foreach|while|until|case|catch|when|guard)\b|&&|\|\|`)
	indentBranch = regexp.MustCompile(`\b(?:if|elif|for|while|except|case|and|or)\b`)
)

// headMax is how many lines a function's head may have before its body begins.
const headMax = 12

// scanFactor is how often a line may be looked at, on average, for the end of a function. Braces that
// do not match would make it often.
const scanFactor = 20

// braced finds functions whose bodies stand in braces. A function inside a function counts for the outer one.
func braced(name string, l *language, lines lines) []function {
	var out []function
	bare := stripAll(l, lines)
	room := scanFactor * (len(lines) + headMax)
	for i := 0; i < len(lines) && room > 0; i++ {
		id := beginning(l, bare[i])
		if id == "" {
			continue
		}
		last, ok := closing(bare, i, &room)
		if !ok {
			continue
		}
		out = append(out, function{
			file: name, name: id, line: i + 1, text: lines.at(name, i+1).Text, lines: last - i + 1,
			branches: 1 + branches(bare[i:last+1], braceBranch),
		})
		i = last
	}
	return out
}

// beginning returns the name of the function that a line begins, or "".
func beginning(l *language, line string) string {
	m := l.funcs.FindStringSubmatch(line)
	if m == nil {
		return ""
	}
	if first := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == '(' }); len(first) > 0 && notFunctions[first[0]] {
		return ""
	}
	for _, id := range m[1:] {
		if id != "" && !notFunctions[id] {
			return id
		}
	}
	return ""
}

// closing returns the line that closes the first brace opened on line i or soon after.
// Each line that is looked at takes from room.
func closing(bare []string, i int, room *int) (last int, ok bool) {
	depth, opened := 0, false
	for j := i; j < len(bare) && (opened || j < i+headMax) && *room > 0; j++ {
		*room--
		for _, c := range bare[j] {
			switch {
			case c == '{':
				depth, opened = depth+1, true
			case c == '}':
				depth--
			case c == ';' && !opened:
				return 0, false // a declaration without a body
			}
			if depth < 0 {
				return 0, false
			}
		}
		if opened && depth <= 0 {
			return j, true
		}
	}
	return 0, false
}

// indented finds functions whose bodies are indented.
func indented(name string, l *language, lines lines) []function {
	var out []function
	bare := stripAll(l, lines)
	for i := 0; i < len(lines); i++ {
		id := beginning(l, bare[i])
		if id == "" {
			continue
		}
		edge, last := margin(lines[i]), i
		for j := i + 1; j < len(lines); j++ {
			trimmed := strings.TrimSpace(bare[j])
			if trimmed == "" {
				continue
			}
			if margin(lines[j]) <= edge && !strings.HasPrefix(trimmed, ")") {
				break
			}
			last = j
		}
		out = append(out, function{
			file: name, name: id, line: i + 1, text: lines.at(name, i+1).Text, lines: last - i + 1,
			branches: 1 + branches(bare[i:last+1], indentBranch),
		})
		i = last
	}
	return out
}

func margin(line string) int {
	return len(line) - len(strings.TrimLeft(line, " \t"))
}

func branches(bare []string, re *regexp.Regexp) int {
	n := 0
	for _, line := range bare {
		n += len(re.FindAllStringIndex(line, -1))
	}
	return n
}

// stripAll returns the lines without comments and without what stands in quotes, as far as that can
// be told line by line.
func stripAll(l *language, lines lines) []string {
	s := stripper{lang: l}
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = s.strip(line)
	}
	return out
}

// stripper removes comments and quoted text. inside is the mark that ends what the last line began.
type stripper struct {
	lang   *language
	inside string
}

func (s *stripper) strip(line string) string {
	var out strings.Builder
	line = line[:min(len(line), lineMax)]
	for i := 0; i < len(line); {
		rest := line[i:]
		if s.inside != "" {
			end := strings.Index(rest, s.inside)
			if end < 0 {
				return out.String()
			}
			i += end + len(s.inside)
			s.inside = ""
			continue
		}
		switch {
		case strings.HasPrefix(rest, s.lang.comment):
			return out.String()
		case s.lang.comment == "//" && strings.HasPrefix(rest, "/*"):
			s.inside = "*/"
			i += 2
		case s.lang.indent && (strings.HasPrefix(rest, `"""`) || strings.HasPrefix(rest, `'''`)):
			s.inside = rest[:3]
			i += 3
		case rest[0] == '"' || rest[0] == '\'' || rest[0] == '`':
			n := quoted(rest)
			if n == 0 {
				n = 1
				out.WriteByte(' ')
			}
			i += n
		default:
			out.WriteByte(rest[0])
			i++
		}
	}
	return out.String()
}

// quoted returns the length of the quoted text that s begins with, or 0 if it does not end on the
// line, as a Rust lifetime or an apostrophe does not.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1
		}
	}
	return 0
}

// marker is a word in a comment by which an author admits unfinished work.
var marker = regexp.MustCompile(`(?://|#|/\*+|^\s*\*|--|<!--|;;)\s*@?(TODO|FIXME|HACK|XXX)\b`)

// markers counts the lines of a file with such words, by the word.
func markers(f source, found map[string]*hit) {
	for n, line := range files.Lines(f.data) {
		if m := marker.FindStringSubmatch(line[:min(len(line), lineMax)]); m != nil {
			found[m[1]].add(f.Path, at(f.Path, n, line))
		}
	}
}

// place is a line of a file.
type place struct {
	file string
	line int
	text string
}
