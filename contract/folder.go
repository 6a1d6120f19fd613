package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"polity.run/fault"
	"polity.run/schema"
)

// FolderName is what the folder beside a manifest is called.
const FolderName = "schemas"

const (
	subjectFile = "subject.json"
	subjectsMax = 10_000  // subjects of a folder
	fileMax     = 4 << 20 // bytes of one file
)

// Folder keeps subjects in files, for which a repository of sources is the history: nothing of a node is needed.
//
//	schemas/orders.placed/subject.json     its name, policy, and what each version promises, by digest
//	schemas/orders.placed/v1.json          the schema of version 1
//	schemas/orders.placed/v2.upcast.json   how version 1 is read as version 2, if there is something to do
//	schemas/orders.placed/v1.golden.json   data of version 1, as a list, if there is some
//	schemas/skill/critic/review/in/...     the same, of skill:critic/review/in
//	schemas/signal/order/paid/...          the same, of signal:order/paid
type Folder struct {
	dir    string
	within *os.Root // it must not leave; nil for none
}

// OpenFolder returns the folder at a path, which need not be there before the first Register.
func OpenFolder(dir string) *Folder { return &Folder{dir: dir} }

// Within returns the folder named FolderName of another one, and reads nothing outside of that. It is for reading alone.
func Within(root *os.Root) *Folder { return &Folder{FolderName, root} }

// summary is a subject's own file.
type summary struct {
	Name string `json:"subject"`
	schema.Policy
	Digests []string `json:"digests"` // by version
}

// place is the folder of a subject within the folder.
func place(name string) string { return strings.Replace(name, ":", "/", 1) }

// named is the subject of a folder within the folder.
func named(place string) string {
	if kind, rest, ok := strings.Cut(place, "/"); ok {
		return kind + ":" + rest
	}
	return place
}

// file names a file of a version.
func file(number int, what string) string { return fmt.Sprintf("v%d%s.json", number, what) }

// root opens the folder. It returns nil if it is not there.
func (f *Folder) root() (*os.Root, error) {
	open := os.OpenRoot
	if f.within != nil {
		open = f.within.OpenRoot
	}
	root, err := open(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Denied.New("schemas: %w", err)
	}
	return root, nil
}

// Subject returns a subject, fault.NotFound, or fault.Conflict if a version is not what was registered.
func (f *Folder) Subject(name string) (*Subject, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	root, err := f.root()
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, fault.NotFound.New("there is no folder %s", f.dir)
	}
	s, err := f.read(root, name)
	if err == nil && s == nil {
		err = fault.NotFound.New("there is no subject %q in %s", name, f.dir)
	}
	return s, errors.Join(err, root.Close())
}

// List returns all subjects in the order of their names, with all problems as one error.
func (f *Folder) List() ([]Subject, error) {
	root, err := f.root()
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, fault.NotFound.New("there is no folder %s", f.dir)
	}
	out, err := f.list(root)
	return out, errors.Join(err, root.Close())
}

func (f *Folder) list(root *os.Root) ([]Subject, error) {
	out := []Subject{}
	var problems []error
	err := fs.WalkDir(root.FS(), ".", func(at string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return nil
		case path.Base(at) != subjectFile:
			if _, err := root.Stat(path.Join(path.Dir(at), subjectFile)); errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(at, ".json") {
				problems = append(problems, fault.Invalid.New("%s: no subject is registered here; see: polity schemas register --help", path.Join(f.dir, at)))
			}
			return nil
		case len(out) >= subjectsMax:
			return fault.Invalid.New("%s: more than %d subjects", f.dir, subjectsMax)
		}
		name := named(path.Dir(at))
		s, err := f.read(root, name)
		if err != nil {
			problems = append(problems, err)
			return nil
		}
		out = append(out, *s)
		return nil
	})
	slices.SortFunc(out, func(a, b Subject) int { return strings.Compare(a.Name, b.Name) })
	return out, errors.Join(append(problems, err)...)
}

// read reads a subject; nil if it is not there.
func (f *Folder) read(root *os.Root, name string) (*Subject, error) {
	at := place(name)
	var sum summary
	there, err := f.json(root, path.Join(at, subjectFile), &sum)
	if err != nil || !there {
		return nil, err
	}
	where := path.Join(f.dir, at)
	switch {
	case sum.Name != name:
		return nil, fault.Invalid.New("%s: it says that it is of %q, and the folder is that of %q", path.Join(where, subjectFile), sum.Name, name)
	case len(sum.Digests) > VersionsMax:
		return nil, fault.Invalid.New("%s: more than %d versions", path.Join(where, subjectFile), VersionsMax)
	}
	s := &Subject{Name: sum.Name, Policy: sum.Policy}
	for i, digest := range sum.Digests {
		v, err := f.version(root, at, i+1)
		if err != nil {
			return nil, err
		}
		have, err := v.Digest()
		if err != nil {
			return nil, fault.Invalid.New("%s: version %d: %w", where, i+1, err)
		}
		if have != digest {
			return nil, fault.Conflict.New("%s: version %d is not what was registered; versions do not change: take the change back, and register it as version %d",
				where, i+1, len(sum.Digests)+1)
		}
		s.Versions = append(s.Versions, *v)
	}
	return s, f.strays(root, at, len(sum.Digests))
}

// strays refuses a version that stands there and is not registered.
func (f *Folder) strays(root *os.Root, at string, versions int) error {
	stray := path.Join(at, file(versions+1, ""))
	if _, err := root.Stat(stray); err != nil {
		return nil // not there, as it should be
	}
	name := named(at)
	return fault.Invalid.New("%s is not registered: move it away, and register it with: polity schemas register %s FILE --dir %s", path.Join(f.dir, stray), name, f.dir)
}

func (f *Folder) version(root *os.Root, at string, number int) (*Version, error) {
	var v Version
	there, err := f.json(root, path.Join(at, file(number, "")), &v.Schema)
	if err == nil && !there {
		err = fault.NotFound.New("%s: version %d is registered, and its file is gone", path.Join(f.dir, at, file(number, "")), number)
	}
	if err != nil {
		return nil, err
	}
	if _, err := f.json(root, path.Join(at, file(number, ".upcast")), &v.Upcast); err != nil {
		return nil, err
	}
	_, err = f.json(root, path.Join(at, file(number, ".golden")), &v.Golden)
	return &v, err
}

// json reads a file, and says whether it is there.
func (f *Folder) json(root *os.Root, name string, into any) (bool, error) {
	file, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	where := path.Join(f.dir, name)
	if err != nil {
		return false, fault.Denied.New("%s: %w", where, err)
	}
	data, err := io.ReadAll(io.LimitReader(file, fileMax+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return false, fault.Denied.New("%s: %w", where, err)
	}
	return true, ReadJSON(where, data, into)
}

// ReadJSON reads the one value of a file. Unknown fields are errors, and what is wrong is said with its line.
func ReadJSON(where string, data []byte, into any) error {
	if len(data) > fileMax {
		return fault.Invalid.New("%s: larger than %d bytes", where, fileMax)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one JSON value")
		}
	}
	if err == nil {
		return nil
	}
	line := 1 + bytes.Count(data[:min(int(d.InputOffset()), len(data))], []byte("\n"))
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		line = 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n"))
	}
	return fault.Invalid.New("%s:%d: %w", where, line, err)
}

// Register adds a version and returns the subject with it: see Store.Register. Files of versions are never written again.
func (f *Folder) Register(q Registration) (*Subject, error) {
	if err := CheckName(q.Subject); err != nil {
		return nil, err
	}
	at := place(q.Subject)
	if err := os.MkdirAll(f.dir, 0o755); err != nil { // sources, which others may read
		return nil, fault.Denied.New("schemas: %w", err)
	}
	root, err := f.root()
	if err != nil {
		return nil, err
	}
	s, err := f.read(root, q.Subject)
	if err == nil {
		var next *Subject
		if next, err = q.apply(s); err == nil {
			err = f.write(root, at, s, next)
			s = next
		}
	}
	if err = errors.Join(err, root.Close()); err != nil {
		return nil, err
	}
	return s, nil
}

// write writes what next has more than s. The subject's own file comes last: until then nothing is registered.
func (f *Folder) write(root *os.Root, at string, s, next *Subject) error {
	if s.same(next) {
		return nil
	}
	if err := root.MkdirAll(at, 0o755); err != nil {
		return fault.Denied.New("schemas: %w", err)
	}
	sum := summary{Name: next.Name, Policy: next.Policy}
	for i := range next.Versions {
		digest, err := next.Versions[i].Digest()
		if err != nil {
			return err
		}
		sum.Digests = append(sum.Digests, digest)
	}
	if s == nil || next.Newest() > s.Newest() {
		number := next.Newest()
		v := next.Versions[number-1]
		if err := f.put(root, path.Join(at, file(number, "")), orAny(v.Schema), os.O_EXCL); err != nil {
			return err
		}
		if len(v.Upcast) > 0 {
			if err := f.put(root, path.Join(at, file(number, ".upcast")), v.Upcast, os.O_EXCL); err != nil {
				return err
			}
		}
	}
	for i, v := range next.Versions {
		if len(v.Golden) == 0 || s != nil && i < s.Newest() && len(s.Versions[i].Golden) > 0 {
			continue
		}
		if err := f.put(root, path.Join(at, file(i+1, ".golden")), v.Golden, os.O_EXCL); err != nil {
			return err
		}
	}
	return f.put(root, path.Join(at, subjectFile), sum, os.O_TRUNC)
}

// put writes a file as people read it.
func (f *Folder) put(root *os.Root, name string, v any, how int) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fault.Invalid.New("%s: %w", name, err)
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|how, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fault.Conflict.New("%s is there already, and not registered: move it away", path.Join(f.dir, name))
	}
	if err != nil {
		return fault.Denied.New("schemas: %w", err)
	}
	_, err = file.Write(append(data, '\n'))
	if err = errors.Join(err, file.Close()); err != nil {
		return fault.Unavailable.New("schemas: write: %w", err)
	}
	return nil
}
