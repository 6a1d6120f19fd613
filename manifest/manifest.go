// Package manifest reads the files that declare organizations of agents and makes releases of them.
//
// It exists so that what runs is what was written: a file is read strictly, everything it names is
// looked up and pinned by its digest, and all that is wrong is reported at once, each with its line,
// its column and what to write instead.
//
//	file -> YAML nodes -> Go types -> definitions -> agent.Release
//
// The file format is version v1; its JSON Schema, for editors, comes from [Schema]. Nothing here
// runs a program or opens a connection, and no file outside the manifest's folder is read.
package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"polity.run/agent"
	"polity.run/fault"
	"polity.run/tool"
)

// FileName is the manifest's name in a folder.
const FileName = "polity.yaml"

// The limits of a manifest. What exceeds one is a Problem.
const (
	SizeMax         = 1 << 20   // bytes of the manifest itself
	DepthMax        = 32        // lists and mappings inside each other
	NodesMax        = 100_000   // values and keys
	KeyMax          = 256       // bytes of a key
	AgentsMax       = 1_000     // agents, the main organization not counted
	StepsMax        = 500       // steps of a declared plan
	WordsMax        = 256       // words of a command; entries of tools, files and env
	InstructionsMax = 256 << 10 // bytes of a model's instructions
	FileMax         = 16 << 20  // bytes of a pinned file
	BlobsMax        = 64 << 20  // bytes of all pinned files together
	ReleaseMax      = 8 << 20   // bytes of the release as JSON
	ProblemsMax     = 100       // problems that are listed
)

// Env is what the manifest's names are looked up in. What is not in it does not exist: with the
// zero Env every tool, model and Go agent is a problem.
type Env struct {
	Tools  map[string]tool.Spec // by name
	Models []string             // names
	// Specs returns what the tools of a source are that says so itself. Nil: no source can be declared.
	Specs func(tool.Source) ([]tool.Spec, error)
	Go    map[string]string // versions of the Go agents that are linked in, by registered name
}

// Manifest is a manifest that was read and found right.
type Manifest struct {
	Release agent.Release
	// Blobs holds the contents of the files that the release pins, by hex SHA-256.
	Blobs map[string][]byte
	// On are the sources of requests, in the order of the file; their folders are relative to the manifest's.
	On []On
	// Path is the manifest's file.
	Path string
	// Warnings are oddities that stop nothing, in the order of the file.
	Warnings []Problem
}

// Load reads the manifest at path, a file or a folder that holds polity.yaml, and everything that it
// names. The error is fault.NotFound if there is no manifest, fault.Denied or fault.Unavailable if it
// cannot be read, and else Problems, which is fault.Invalid and lists all that is wrong. The same
// files and the same env give the same release, byte for byte.
func Load(path string, env Env) (*Manifest, error) {
	path, data, err := open(path)
	if err != nil {
		return nil, err
	}
	data = plainLines(data)
	log := newLog(path, data)
	f, at := read(data, log)
	if f == nil {
		return nil, log.problems()
	}
	dir, err := openFolder(path)
	if err != nil {
		return nil, err
	}
	defer dir.close()
	b := &builder{log: log, at: at, file: f, env: newNames(env), dir: dir, blobs: map[string][]byte{}}
	release := b.release()
	if err := log.problems(); err != nil {
		return nil, err
	}
	return &Manifest{Release: *release, Blobs: b.blobs, On: b.watched, Path: path, Warnings: log.warnings()}, nil
}

// Digest returns the digest that names a release, which is the hex SHA-256 of its JSON, and that JSON.
func Digest(r *agent.Release) (string, []byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return "", nil, fault.Invalid.New("release %q: write: %w", r.Name, err)
	}
	return hexSum(data), data, nil
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
