// Package code looks at a folder of source code as a reviewer does who asks "is this ready for
// production?": what it depends on, how it is tested, where its risk of change lies, what in it is
// dangerous, and how it is documented.
//
// It exists so that agents argue from facts that can be looked at again: every claim names its
// files and lines as they stand, or the file that is missing. No tool runs or builds what it
// reads, asks a network, or knows what the code is for. What each can know:
//
//	code.dependencies  what manifests and lock files declare, and the licences whose text is in the
//	                   folder. Not: what is installed, known vulnerabilities, licences that are only online.
//	code.tests         what looks like a test by its ecosystem's conventions, counted in lines; CI
//	                   and build files by name. Not: whether the tests pass, or what they cover.
//	code.hotspots      size, branches and churn. Go's functions are parsed (cyclomatic complexity);
//	                   other languages' are found by heuristics, and their branch keywords counted.
//	code.risks         patterns in lines. Each is worth a look; few are proof. A secret's value
//	                   is never repeated: the evidence ends before it.
//	code.docs          documents by name, links between them, and doc comments: parsed for Go,
//	                   a heuristic for Python. Not: whether they are true.
//
// A tool's life is
//
//	survey the folder -> read what it judges -> claims with evidence -> a bounded report
//
// What could not be looked at is a note in the report, never a fault. The same folder gives the
// same bytes.
package code

import (
	"context"

	"polity.run"
	"polity.run/tool"
)

// version is the version of the tools: it changes when the same folder would be reported otherwise.
const version = "2"

// Input is the input of every tool of the package: the folder of the call says it all.
type Input struct{}

// judge fills a report about a folder. Its error is ctx's.
type judge func(ctx context.Context, t *tree, r *report) error

// Tools returns the tools of this package, each with a polity.Report for its output.
func Tools() ([]tool.Tool, error) {
	table := []struct {
		name, description string
		judge             judge
	}{
		{"code.dependencies", "Judge the dependencies that the folder's manifests declare, how they are pinned, and the licence.", dependencies},
		{"code.tests", "Judge the tests, the continuous integration and the build set-up by their files.", tests},
		{"code.hotspots", "Find where changing the code is risky: size, complexity and churn.", hotspots},
		{"code.risks", "Find secrets, dangerous calls and unsafe settings by their patterns.", risks},
		{"code.docs", "Judge the documentation: README and other documents, links, and comments on exported names.", docs},
	}
	var tools []tool.Tool
	for _, row := range table {
		t, err := tool.Func(tool.Spec{
			Name: row.name, Version: version, Effect: polity.EffectNone, Description: row.description,
		}, row.judge.call)
		if err != nil {
			return nil, err
		}
		tools = append(tools, t)
	}
	return tools, nil
}

// call is the tool's function.
func (j judge) call(ctx context.Context, c tool.Call, _ Input) (polity.Report, error) {
	t, err := survey(ctx, c.Folder)
	if err != nil {
		return polity.Report{}, err
	}
	defer t.root.Close()
	r := &report{}
	if len(t.files) == 0 {
		r.note("The folder has no files that can be looked at.")
	}
	if err := j(ctx, t, r); err != nil {
		return polity.Report{}, err
	}
	return r.finish(t), nil
}
