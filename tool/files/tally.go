package files

import (
	"fmt"
	"strings"
)

// examplesMax is how many names a note gives.
const examplesMax = 5

// Tally says what a walk saw and what it, or a reading of its files, left out.
type Tally struct {
	Files int   // regular files seen
	Bytes int64 // bytes read of them

	full                                        int // the limit of files, if it was reached
	folders, links, special, names, deep, wide  some
	binary, minified, large, closed, overBudget some
}

// some counts names and keeps the first few.
type some struct {
	count    int
	examples []string
}

func (s *some) add(name string) {
	if s.count++; len(s.examples) < examplesMax {
		s.examples = append(s.examples, name)
	}
}

// note says n things and their names, or nothing.
func (s *some) note(notes []string, one, many string) []string {
	if s.count == 0 {
		return notes
	}
	text := "1 " + one
	if s.count > 1 {
		text = fmt.Sprintf("%d %s", s.count, many)
	}
	text += ": " + strings.Join(s.examples, ", ")
	if more := s.count - len(s.examples); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return append(notes, text+".")
}

// Complete says whether every file of the folder was seen. Folders that Walk does not enter count as
// seen: they are not the project's own.
func (t *Tally) Complete() bool {
	return t.full == 0 && t.deep.count == 0 && t.wide.count == 0 && t.closed.count == 0
}

// Notes says in sentences what was not looked at and why. The order is fixed.
func (t *Tally) Notes() []string {
	var n []string
	if t.full > 0 {
		n = append(n, fmt.Sprintf("The folder has more than %d files; the rest was not looked at.", t.full))
	}
	n = t.deep.note(n, "folder is nested too deeply and was not entered", "folders are nested too deeply and were not entered")
	n = t.wide.note(n, "folder has too many entries and was seen in part", "folders have too many entries and were seen in part")
	n = t.folders.note(n, "folder of installed dependencies or build results was not entered",
		"folders of installed dependencies or build results were not entered")
	n = t.links.note(n, "symbolic link was not followed", "symbolic links were not followed")
	n = t.special.note(n, "entry is neither file nor folder and was not opened", "entries are neither files nor folders and were not opened")
	n = t.names.note(n, "name is not UTF-8 and was not looked at", "names are not UTF-8 and were not looked at")
	n = t.closed.note(n, "file or folder could not be opened", "files or folders could not be opened")
	n = t.large.note(n, "text file is too large and was not read", "text files are too large and were not read")
	n = t.overBudget.note(n, "file was not read: the limit of bytes in all was reached", "files were not read: the limit of bytes in all was reached")
	n = t.binary.note(n, "binary file was not read", "binary files were not read")
	n = t.minified.note(n, "minified file was not judged", "minified files were not judged")
	return n
}
