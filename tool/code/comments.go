package code

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"strings"

	"polity.run"
	"polity.run/tool/files"
)

// comments is what is known of the comments on what others may use.
type comments struct {
	goNames, pyNames coverage
	broken           []string
}

// coverage counts names with and without a comment and keeps examples of both.
type coverage struct {
	all, bare int
	good, bad []polity.Evidence
}

func (c *coverage) add(ok bool, ev polity.Evidence) {
	c.all++
	to := &c.good
	if !ok {
		c.bare++
		to = &c.bad
	}
	if len(*to) < evidenceMax {
		*to = append(*to, ev)
	}
}

// readComments reads the code that others may use: no tests, no examples, nothing generated, no Go
// package that is internal or a program.
func (t *tree) readComments(ctx context.Context) (*comments, error) {
	c := &comments{}
	err := t.sources(ctx, func(f source) error {
		if f.kind == files.Generated || supporting(f.Path) {
			return nil
		}
		switch f.lang.name {
		case "Go":
			c.goFile(f)
		case "Python":
			c.pyFile(f)
		}
		return nil
	})
	return c, err
}

func (c *comments) goFile(f source) {
	if strings.Contains("/"+f.Path, "/internal/") {
		return
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, f.Path, f.data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		c.broken = append(c.broken, f.Path)
		return
	}
	if file.Name.Name == "main" {
		return
	}
	lines := linesOf(f.data)
	see := func(pos token.Pos, ok bool) {
		c.goNames.add(ok, lines.at(f.Path, fset.PositionFor(pos, false).Line))
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && receiverExported(d) {
				see(d.Name.Pos(), d.Doc != nil)
			}
		case *ast.GenDecl:
			genDecl(d, see)
		}
	}
}

// receiverExported says whether a function is no method, or one of an exported type.
func receiverExported(d *ast.FuncDecl) bool {
	name, _, isMethod := strings.Cut(goName(d), ".")
	return !isMethod || ast.IsExported(name)
}

// genDecl sees each exported type, and each group of exported constants or variables. A comment on a
// group or at the end of a line counts for its names.
func genDecl(d *ast.GenDecl, see func(token.Pos, bool)) {
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				see(s.Name.Pos(), s.Doc != nil || s.Comment != nil || d.Doc != nil)
			}
		case *ast.ValueSpec:
			for _, name := range s.Names {
				if name.IsExported() {
					see(name.Pos(), s.Doc != nil || s.Comment != nil || d.Doc != nil)
					break
				}
			}
		}
	}
}

var (
	pyPublic  = regexp.MustCompile(`^(    )?(?:async\s+)?(def|class)\s+([A-Za-z]\w*)`)
	docString = regexp.MustCompile(`^\s*[rRuUbB]{0,2}(?:"""|'''|"|')`)
)

// pyFile looks for docstrings after public definitions at the top of a file and, by their indentation,
// in its classes.
func (c *comments) pyFile(f source) {
	if base := path.Base(f.Path); base == "setup.py" || base == "conftest.py" || strings.HasPrefix(base, "_") && base != "__init__.py" {
		return
	}
	lines := linesOf(f.data)
	inClass := false
	for i, line := range lines {
		m := pyPublic.FindStringSubmatch(line)
		if m == nil || strings.HasPrefix(m[3], "_") {
			continue
		}
		if m[1] == "" {
			inClass = m[2] == "class"
		} else if !inClass {
			continue
		}
		c.pyNames.add(hasDocString(lines, i), at(f.Path, i+1, line))
	}
}

// hasDocString says whether the statement that begins on line i is followed by a text of its own.
func hasDocString(lines lines, i int) bool {
	for j := i; j < len(lines) && j < i+headMax; j++ {
		head := strings.TrimSpace(lines[j])
		if k := strings.LastIndex(head, " #"); k >= 0 {
			head = strings.TrimSpace(head[:k])
		}
		if !strings.HasSuffix(head, ":") {
			continue
		}
		for k := j + 1; k < len(lines); k++ {
			if strings.TrimSpace(lines[k]) != "" {
				return docString.MatchString(lines[k])
			}
		}
	}
	return false
}
