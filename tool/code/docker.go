package code

import (
	"path"
	"strings"

	"polity.run"
)

func isDockerfile(name string) bool {
	base := path.Base(name)
	return base == "Containerfile" || base == "Dockerfile" || strings.HasPrefix(base, "Dockerfile.") || strings.HasSuffix(base, ".Dockerfile")
}

// image is what a Dockerfile says of its last stage, which is what runs.
type image struct {
	from   polity.Evidence // the last FROM
	base   string
	user   polity.Evidence // the last USER after it
	name   string
	moving []polity.Evidence // FROM lines whose image may change
}

// judgeDockerfile looks at who the container runs as and what it is built on.
func judgeDockerfile(name string, lines lines, r *report) {
	if supporting(name) {
		return
	}
	m := readDockerfile(name, lines)
	switch {
	case m.from.File == "":
	case m.name != "" && m.name != "root" && m.name != "0" && !strings.HasPrefix(m.name, "0:") && !strings.HasPrefix(m.name, "root:"):
		r.favour(polity.Low, []polity.Evidence{m.user}, "The container of %s runs as the user %s, not as root.", name, m.name)
	case m.name != "":
		r.against(polity.Medium, []polity.Evidence{m.user}, "The container of %s runs as root.", name)
	case !strings.Contains(m.base, "nonroot") && !strings.Contains(m.base, "rootless") && !strings.Contains(m.base, "unprivileged"):
		r.against(polity.Medium, []polity.Evidence{m.from}, "The container of %s runs as root unless its base image says otherwise: no USER is set after the last FROM.", name)
	}
	if len(m.moving) > 0 {
		r.against(polity.Low, m.moving, "%s builds on %s whose tag is missing or latest, so two builds may differ.", name, count(len(m.moving), "image", "images"))
	}
}

func readDockerfile(name string, lines lines) image {
	var m image
	stages := map[string]bool{"scratch": true}
	for i, line := range lines {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch strings.ToUpper(words[0]) {
		case "FROM":
			m.stage(at(name, i+1, line), words[1:], stages)
		case "USER":
			m.user, m.name = at(name, i+1, line), words[1]
		}
	}
	return m
}

// stage begins a stage of the build. Its user is root again, unless it builds on an earlier stage.
func (m *image) stage(ev polity.Evidence, words []string, stages map[string]bool) {
	for len(words) > 0 && strings.HasPrefix(words[0], "--") {
		words = words[1:]
	}
	if len(words) == 0 {
		return
	}
	base := words[0]
	if !stages[strings.ToLower(base)] {
		m.user, m.name = polity.Evidence{}, ""
	}
	m.from, m.base = ev, base
	if !stages[strings.ToLower(base)] && !strings.ContainsAny(base, "$@") {
		tag := base[strings.LastIndexByte(base, '/')+1:]
		if _, t, ok := strings.Cut(tag, ":"); !ok || t == "latest" {
			m.moving = append(m.moving, ev)
		}
	}
	if len(words) >= 3 && strings.EqualFold(words[1], "as") {
		stages[strings.ToLower(words[2])] = true
	}
}
