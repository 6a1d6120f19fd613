package code

import (
	"context"
	"fmt"
	"path"
	"strings"

	"polity.run"
)

// dependencies is the tool code.dependencies.
func dependencies(ctx context.Context, t *tree, r *report) error {
	all, aside, err := t.manifests(ctx)
	if err != nil {
		return err
	}
	if aside > 0 {
		r.note("%s in folders of tests and examples %s not judged.", count(aside, "manifest", "manifests"), verb(aside, "was", "were"))
	}
	declared := 0
	for _, m := range all {
		if m.broken != nil {
			r.against(polity.Medium, whole(m.path), "%s cannot be read as a manifest of %s: %s.", m.path, m.eco.name, oneLine(m.broken.Error()))
			continue
		}
		declared += len(m.deps)
		t.judgeManifest(m, r)
	}
	if len(all) == 0 {
		r.remark(polity.Info, missing("go.mod", "package.json", "pyproject.toml", "requirements.txt", "Cargo.toml", "pom.xml"),
			"No manifest of a known ecosystem declares dependencies.")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t.licence(all, r)
	if err := t.dependencyLicences(ctx, all, r); err != nil {
		return err
	}
	r.summary = fmt.Sprintf("%s with %s.", count(len(all), "manifest", "manifests"), count(declared, "declared dependency", "declared dependencies"))
	return nil
}

// judgeManifest makes the claims about one manifest.
func (t *tree) judgeManifest(m *manifest, r *report) {
	if len(m.deps) == 0 {
		if m.eco.name == "Go" {
			r.favour(polity.Low, whole(m.path), "%s requires no other module: the standard library is its only dependency.", m.path)
		}
		return
	}
	t.judgePins(m, r)
	t.judgeLocal(m, r)
	judgeRemote(m, r)
	judgeAge(m, r)
	judgeTwice(m, r)
}

// versioned returns the dependencies that come from a registry.
func (m *manifest) versioned() []dependency {
	var out []dependency
	for _, d := range m.deps {
		if d.pin <= open {
			out = append(out, d)
		}
	}
	return out
}

// judgePins says whether two builds of the same source use the same versions.
func (t *tree) judgePins(m *manifest, r *report) {
	deps := m.versioned()
	if len(deps) == 0 {
		return
	}
	loose, w := choose(deps, func(d dependency) bool { return d.pin != exact }), polity.Medium
	if len(loose) == len(choose(loose, func(d dependency) bool { return d.dev })) {
		w = polity.Low
	}
	switch {
	case m.lock != "" && m.eco.name == "Go":
		r.favour(polity.Medium, whole(m.path, m.lock), "%s is pinned to one version, and %s holds the checksums.", subject(m, deps), m.lock)
	case m.lock != "":
		r.favour(polity.Medium, whole(m.lock), "%s is fixed by %s.", subject(m, deps), m.lock)
		judgeOpen(m, deps, r)
	case m.eco.name == "Go":
		r.against(polity.High, append(evidenceOf(m, deps[:1]), missing(path.Join(path.Dir(m.path), "go.sum"))...),
			"%s requires %s but there is no go.sum, so nothing proves that a build uses the same code.", m.path, count(len(deps), "module", "modules"))
	case len(loose) > 0:
		ev := evidenceOf(m, loose)
		fixer := "nothing else fixes"
		if len(m.eco.locks) > 0 {
			fixer = "no lock file fixes"
			ev = append(ev[:min(len(ev), evidenceMax/2)], missing(within(path.Dir(m.path), m.eco.locks)...)...)
		}
		who := fmt.Sprintf("%d of %d dependencies in %s %s", len(loose), len(deps), m.path, verb(len(loose), "is", "are"))
		if len(deps) == 1 {
			who = subject(m, deps) + " is"
		}
		r.against(w, ev, "%s not pinned to one version and %s %s, so two builds may differ: %s.",
			who, fixer, verb(len(loose), "it", "them"), named(namesOf(loose)))
	case len(m.eco.locks) > 0 && m.eco.name != "Gradle":
		r.against(polity.Low, missing(within(path.Dir(m.path), m.eco.locks)...),
			"%s pins its direct dependencies, but no lock file fixes what they depend on.", m.path)
	default:
		r.favour(polity.Low, evidenceOf(m, deps), "%s is pinned to one version.", subject(m, deps))
	}
}

// judgeOpen names the dependencies that accept any version although a lock file fixes them today.
func judgeOpen(m *manifest, deps []dependency, r *report) {
	if any := choose(deps, func(d dependency) bool { return d.pin == open }); len(any) > 0 {
		r.against(polity.Low, evidenceOf(m, any), "%s in %s %s any version, so the next update may break the build: %s.",
			count(len(any), "dependency", "dependencies"), m.path, verb(len(any), "accepts", "accept"), named(namesOf(any)))
	}
}

// judgeLocal looks at dependencies that are folders.
func (t *tree) judgeLocal(m *manifest, r *report) {
	outside := choose(m.deps, func(d dependency) bool { return d.pin == local && !inside(path.Dir(m.path), d.target) })
	if len(outside) > 0 {
		r.against(polity.High, evidenceOf(m, outside), "%s takes %s from a folder outside of this one, so it builds only where that folder lies: %s.",
			m.path, count(len(outside), "dependency", "dependencies"), named(namesOf(outside)))
	}
	within := choose(m.deps, func(d dependency) bool { return d.pin == local && inside(path.Dir(m.path), d.target) })
	if len(within) > 0 {
		r.remark(polity.Info, evidenceOf(m, within), "%s takes %s from this folder itself: %s.",
			m.path, count(len(within), "dependency", "dependencies"), named(namesOf(within)))
	}
}

// inside says whether a path as it stands in a manifest of the folder dir stays within the root.
func inside(dir, target string) bool {
	target = strings.ReplaceAll(target, `\`, "/")
	if path.IsAbs(target) || strings.Contains(target, ":") {
		return false
	}
	p := path.Join(dir, target)
	return p != ".." && !strings.HasPrefix(p, "../")
}

// judgeRemote looks at dependencies that are fetched from an address instead of a registry.
func judgeRemote(m *manifest, r *report) {
	moving := choose(m.deps, func(d dependency) bool { return d.pin == remote && !d.fixed })
	if len(moving) > 0 && m.lock == "" {
		r.against(polity.Medium, evidenceOf(m, moving), "%s takes %s from a repository or address without naming a commit, so the code may change unnoticed: %s.",
			m.path, count(len(moving), "dependency", "dependencies"), named(namesOf(moving)))
		return
	}
	if all := choose(m.deps, func(d dependency) bool { return d.pin == remote }); len(all) > 0 {
		r.against(polity.Low, evidenceOf(m, all), "%s takes %s straight from a repository or address instead of a registry: %s.",
			m.path, count(len(all), "dependency", "dependencies"), named(namesOf(all)))
	}
}

// judgeAge looks at direct dependencies that promise no compatibility.
func judgeAge(m *manifest, r *report) {
	if !m.eco.semver {
		return
	}
	direct := choose(m.versioned(), func(d dependency) bool { return !d.indirect })
	pseudo := choose(direct, func(d dependency) bool { return m.eco.name == "Go" && isPseudo(d.version) })
	if len(pseudo) > 0 {
		r.against(polity.Low, evidenceOf(m, pseudo), "%d of %s in %s %s a commit that was never released: %s.",
			len(pseudo), count(len(direct), "direct dependency", "direct dependencies"), m.path, verb(len(pseudo), "is", "are"), named(namesOf(pseudo)))
	}
	early := choose(direct, func(d dependency) bool {
		return d.before1() && !d.dev && !isPseudo(d.version) && !strings.HasPrefix(d.name, "golang.org/x/")
	})
	if len(early) > 0 {
		r.against(polity.Low, evidenceOf(m, early), "%d of %s in %s %s before version 1.0 and promise%s no compatibility: %s.",
			len(early), count(len(direct), "direct dependency", "direct dependencies"), m.path, verb(len(early), "is", "are"), verb(len(early), "s", ""), named(namesOf(early)))
	}
}

// judgeTwice looks for names that are declared twice in a way that contradicts itself.
func judgeTwice(m *manifest, r *report) {
	first := map[string]dependency{}
	var twice []dependency
	for _, d := range m.deps {
		before, seen := first[d.name]
		if !seen {
			first[d.name] = d
			continue
		}
		if d.pin != local && before.pin != local && before.version != d.version {
			twice = append(twice, before, d)
		}
	}
	if len(twice) > 0 {
		names := namesOf(twice)
		r.against(polity.Low, evidenceOf(m, twice), "%s declares %s twice with different versions.", m.path, named(names))
	}
}

// subject names all dependencies of a manifest as the subject of a sentence.
func subject(m *manifest, deps []dependency) string {
	if len(deps) == 1 {
		return "The only dependency in " + m.path
	}
	return fmt.Sprintf("Each of the %d dependencies in %s", len(deps), m.path)
}

func choose(deps []dependency, ok func(dependency) bool) []dependency {
	var out []dependency
	for _, d := range deps {
		if ok(d) {
			out = append(out, d)
		}
	}
	return out
}

// namesOf returns each name once.
func namesOf(deps []dependency) []string {
	var names []string
	seen := map[string]bool{}
	for _, d := range deps {
		if !seen[d.name] {
			seen[d.name] = true
			names = append(names, d.name)
		}
	}
	return names
}

func evidenceOf(m *manifest, deps []dependency) []polity.Evidence {
	var ev []polity.Evidence
	for _, d := range deps[:min(len(deps), evidenceMax)] {
		ev = append(ev, d.evidence(m.path)...)
	}
	return ev
}

// within puts names into a folder.
func within(dir string, names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, path.Join(dir, n))
	}
	return out
}

// oneLine makes one line of an error's text.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
