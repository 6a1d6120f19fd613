package code

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"strings"

	"polity.run"
	"polity.run/tool/files"
)

// goPackage is one folder of Go files.
type goPackage struct {
	funcs, lines, tests int
	firstTest           string
}

// goFile counts a Go file for its package. What does not parse counts by its name alone.
func (s *census) goFile(f source, isTest bool) {
	dir := path.Dir(f.Path)
	p := s.packages[dir]
	if p == nil {
		p = &goPackage{}
		s.packages[dir] = p
		s.dirs = append(s.dirs, dir)
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, f.Path, f.data, parser.SkipObjectResolution)
	if file == nil || err != nil && !isTest {
		p.lines += f.lang.codeLines(f.data)
		return
	}
	if isTest {
		if p.tests++; p.firstTest == "" {
			p.firstTest = f.Path
		}
		s.goTests(f, fset, file)
		return
	}
	p.lines += f.lang.codeLines(f.data)
	for _, d := range file.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil && len(fn.Body.List) > 0 {
			p.funcs++
		}
	}
}

// goTests looks at the functions of a test file.
func (s *census) goTests(f source, fset *token.FileSet, file *ast.File) {
	lines := linesOf(f.data)
	for _, d := range file.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil || fn.Recv != nil {
			continue
		}
		for i, prefix := range []string{"Fuzz", "Example", "Benchmark"} {
			if strings.HasPrefix(fn.Name.Name, prefix) {
				s.kinds[i].add(f.Path, lines.at(f.Path, fset.Position(fn.Pos()).Line))
			}
		}
		if strings.HasPrefix(fn.Name.Name, "Test") {
			s.goSkips(f.Path, lines, fset, fn.Body)
		}
	}
}

// testNames are what a testing.T and its kin are customarily called.
var testNames = map[string]bool{"t": true, "tt": true, "tb": true, "b": true, "f": true}

// goSkips finds the skips of a test: one among the statements of the test itself always happens,
// one inside another statement under a condition.
func (s *census) goSkips(name string, lines lines, fset *token.FileSet, body *ast.BlockStmt) {
	top := map[ast.Node]bool{}
	for _, stmt := range body.List {
		if e, ok := stmt.(*ast.ExprStmt); ok {
			top[e.X] = true
		}
		if _, ok := stmt.(*ast.ReturnStmt); ok {
			break
		}
	}
	ast.Inspect(body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Skip" && sel.Sel.Name != "Skipf" && sel.Sel.Name != "SkipNow" {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); !ok || !testNames[x.Name] {
			return true
		}
		to := &s.maybe
		if top[call] {
			to = &s.always
		}
		to.add(name, lines.at(name, fset.Position(call.Pos()).Line))
		return true
	})
}

// lines are a file's lines, from index 0.
type lines []string

func linesOf(data []byte) lines {
	var out lines
	for _, l := range files.Lines(data) {
		out = append(out, l)
	}
	return out
}

// at is a line as evidence; a number that no line has stands for the whole file.
func (l lines) at(name string, n int) polity.Evidence {
	if n < 1 || n > len(l) {
		return polity.Evidence{File: name}
	}
	return at(name, n, l[n-1])
}
