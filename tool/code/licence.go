package code

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"

	"polity.run"
	"polity.run/tool/files"
)

// recognized is how much of a file must be a known licence, in percent.
const recognized = 75

var (
	licenceFile  = regexp.MustCompile(`(?i)^(?:[\w.-]*[_-])?(?:licen[sc]e|copying|unlicense)(?:[._-][\w.-]*)?$`)
	licenceGlobs = []string{"LICENSE*", "LICENCE*", "COPYING*"}
	sourceExt    = regexp.MustCompile(`(?i)\.(?:go|py|js|ts|rb|java|rs|c|h|sh|tmpl|tpl|json|ya?ml|sum|html)$`)
	copyleft     = regexp.MustCompile(`^(?:AGPL|GPL|SSPL|OSL|EUPL|CC-BY-SA|BUSL|CC-BY-NC)`)
	licenceKey   = regexp.MustCompile(`^\s*"?license"?\s*[:=]\s*(.+)$`)
)

// licence judges under which terms the folder's own code may be used.
func (t *tree) licence(all []*manifest, r *report) {
	var found []string
	for _, f := range t.files {
		if !strings.Contains(f.Path, "/") && isLicence(f.Path) {
			found = append(found, f.Path)
		}
	}
	if len(found) == 0 {
		t.noLicence(all, r)
		return
	}
	for _, name := range found {
		data, ok := t.text(name)
		if !ok {
			r.against(polity.Medium, whole(name), "%s holds no text, so the terms of use are not known.", name)
			continue
		}
		ids, percent := identify(data)
		ev := []polity.Evidence{firstLine(name, data)}
		switch {
		case len(ids) == 0 || percent < recognized:
			r.against(polity.Medium, ev, "%s is not the text of a licence that is recognized (%.0f%% of it matches one); its terms need to be read.", name, percent)
		case slices.ContainsFunc(ids, copyleft.MatchString):
			r.remark(polity.Medium, ev, "The folder is licensed under %s (%s), whose terms bind those who distribute or host the code.", strings.Join(ids, ", "), name)
		default:
			r.favour(polity.Low, ev, "The folder is licensed under %s (%s).", strings.Join(ids, ", "), name)
		}
	}
}

func isLicence(base string) bool {
	return licenceFile.MatchString(base) && !sourceExt.MatchString(base)
}

// noLicence claims that no licence's text is there, weighed by whether a manifest names one.
func (t *tree) noLicence(all []*manifest, r *report) {
	for _, m := range all {
		data, ok := t.text(m.path)
		if !ok || m.eco.name == "Go" {
			continue
		}
		for n, line := range files.Lines(data) {
			if licenceKey.MatchString(line) {
				ev := append(missing(licenceGlobs...), at(m.path, n, line))
				r.against(polity.Medium, ev, "%s names a licence, but the folder does not hold its text.", m.path)
				return
			}
		}
	}
	r.against(polity.High, missing(licenceGlobs...), "The folder has no licence file, so nobody but its owner has a right to use the code.")
}

// identify returns the licences whose text data holds, each once, and how much of it they are.
func identify(data []byte) (ids []string, percent float64) {
	cover := licensecheck.Scan(data)
	for _, m := range cover.Match {
		if !m.IsURL && !slices.Contains(ids, m.ID) {
			ids = append(ids, m.ID)
		}
	}
	return ids, cover.Percent
}

// firstLine is the first line that is not blank, as evidence.
func firstLine(name string, data []byte) polity.Evidence {
	for n, line := range files.Lines(data) {
		if strings.TrimSpace(line) != "" {
			return at(name, n, line)
		}
	}
	return polity.Evidence{File: name}
}

// declared is a dependency's licence with where it stands.
type declared struct {
	name, licence string
	evidence      polity.Evidence
}

// dependencyLicences judges the licences that vendored code and lock files show.
func (t *tree) dependencyLicences(ctx context.Context, all []*manifest, r *report) error {
	known, err := t.vendored(ctx, r)
	if err != nil {
		return err
	}
	known = append(known, t.lockedLicences(all, r)...)
	slices.SortStableFunc(known, func(a, b declared) int { return cmp.Compare(a.name, b.name) })
	if len(known) == 0 {
		if slices.ContainsFunc(all, func(m *manifest) bool { return len(m.versioned()) > 0 }) {
			r.note("The licences of the dependencies are not in the folder, so they are not known without a network.")
		}
		return nil
	}
	groups := map[string][]declared{}
	for _, d := range known {
		groups[d.licence] = append(groups[d.licence], d)
	}
	var permissive []string
	var examples []polity.Evidence
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		group := groups[id]
		switch {
		case id == "":
			r.against(polity.Medium, evidenceFor(group), "The licence of %s is not recognized: %s.",
				count(len(group), "dependency", "dependencies"), namedLicences(group))
		case copyleft.MatchString(id):
			r.against(polity.Medium, evidenceFor(group), "%s under %s, whose terms bind those who distribute or host the code: %s.",
				count(len(group), "dependency is", "dependencies are"), id, namedLicences(group))
		default:
			permissive = append(permissive, count(len(group), "is ", "are ")+id)
			examples = append(examples, group[0].evidence)
		}
	}
	if len(permissive) > 0 {
		r.favour(polity.Low, examples, "Of %s with a licence in the folder, %s.", count(len(known), "dependency", "dependencies"), named(permissive))
	}
	return nil
}

func evidenceFor(group []declared) []polity.Evidence {
	var ev []polity.Evidence
	for _, d := range group[:min(len(group), evidenceMax)] {
		ev = append(ev, d.evidence)
	}
	return ev
}

func namedLicences(group []declared) string {
	var names []string
	for _, d := range group {
		names = append(names, d.name)
	}
	return named(names)
}

// vendorFiles bounds the walk through vendored code.
const vendorFiles = 20_000

// vendored reads the licence files below vendor.
func (t *tree) vendored(ctx context.Context, r *report) ([]declared, error) {
	info, err := t.root.Lstat("vendor")
	if err != nil || !info.IsDir() {
		return nil, nil
	}
	root, err := t.root.OpenRoot("vendor")
	if err != nil {
		r.note("The folder vendor could not be opened.")
		return nil, nil
	}
	defer root.Close()
	var out []declared
	seen := map[string]bool{}
	_, err = files.Walk(ctx, root, files.Limits{Files: vendorFiles}, func(f *files.File) error {
		dir := path.Dir(f.Path)
		if !isLicence(path.Base(f.Path)) || seen[dir] {
			return nil
		}
		data, kind := f.Read()
		if kind != files.Text && kind != files.Generated {
			return nil
		}
		seen[dir] = true
		ids, percent := identify(data)
		d := declared{name: dir, evidence: firstLine(path.Join("vendor", f.Path), data)}
		if percent >= recognized {
			d.licence = strings.Join(ids, " and ")
		}
		out = append(out, d)
		return nil
	})
	return out, err
}

// lockedLicences reads the licences that npm's and Composer's lock files repeat.
func (t *tree) lockedLicences(all []*manifest, r *report) []declared {
	var out []declared
	done := map[string]bool{}
	for _, m := range all {
		base := path.Base(m.lock)
		if done[m.lock] || base != "package-lock.json" && base != "composer.lock" {
			continue
		}
		done[m.lock] = true
		data, ok := t.text(m.lock)
		if !ok {
			continue
		}
		found, err := readLockedLicences(data)
		if err != nil {
			r.against(polity.Medium, whole(m.lock), "%s cannot be read: %s.", m.lock, oneLine(err.Error()))
			continue
		}
		for i := range found {
			found[i].evidence.File = m.lock
		}
		out = append(out, found...)
	}
	return out
}

// readLockedLicences reads a package-lock.json or a composer.lock, with the line of each licence
// where it can be found. Packages that name none are left out.
func readLockedLicences(data []byte) ([]declared, error) {
	var doc struct {
		Packages json.RawMessage `json:"packages"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	var npm map[string]struct {
		License any `json:"license"`
	}
	var out []declared
	if json.Unmarshal(doc.Packages, &npm) == nil {
		for _, key := range slices.Sorted(maps.Keys(npm)) {
			name := strings.TrimPrefix(key, "node_modules/")
			if id := text(npm[key].License); id != "" && name != "" {
				out = append(out, declared{name: name, licence: id})
			}
		}
		return withLines(out, data, func(d declared) string { return `"node_modules/` + d.name + `"` }), nil
	}
	var composer []struct {
		Name    string   `json:"name"`
		License []string `json:"license"`
	}
	if err := json.Unmarshal(doc.Packages, &composer); err != nil {
		return nil, nil // an older format, which repeats no licences
	}
	for _, p := range composer {
		if id := strings.Join(p.License, " or "); id != "" && p.Name != "" {
			out = append(out, declared{name: p.Name, licence: id})
		}
	}
	return withLines(out, data, func(d declared) string { return `"name": "` + d.name + `"` }), nil
}

// withLines finds the lines that name the packages.
func withLines(all []declared, data []byte, key func(declared) string) []declared {
	line := map[string]polity.Evidence{}
	wanted := map[string]bool{}
	for _, d := range all {
		wanted[key(d)] = true
	}
	for n, l := range files.Lines(data) {
		trimmed := strings.TrimRight(strings.TrimSpace(l), ": {,")
		if wanted[trimmed] {
			if _, seen := line[trimmed]; !seen {
				line[trimmed] = at("", n, l)
			}
		}
	}
	for i := range all {
		all[i].evidence = line[key(all[i])]
	}
	return all
}
