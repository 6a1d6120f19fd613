// Package examples holds the examples of the patterns, to begin from.
//
// It exists so that "polity new --pattern" makes a folder of exactly what is run and tested here.
package examples

import "embed"

// Files are the examples' folders, each named as its pattern.
//
//go:embed sequence parallel loop router handoff peers hierarchy debate
var Files embed.FS
