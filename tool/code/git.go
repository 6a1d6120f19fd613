package code

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The limits of reading a history.
const (
	commitsMax  = 2_000
	historyMax  = 32 << 20 // bytes of git's output
	historyTime = 20 * time.Second
)

// history is how the folder's files changed.
type history struct {
	commits int
	authors map[string]bool
	first   int64 // seconds of the oldest commit seen
	last    int64 // of the newest
	files   map[string]*churn
}

// churn is how often and how much a file changed.
type churn struct {
	commits, lines int
}

// of returns the churn of a file. A nil history has none.
func (h *history) of(name string) churn {
	if h == nil || h.files[name] == nil {
		return churn{}
	}
	return *h.files[name]
}

// history reads the folder's own git history. Without one it returns nil and a note says why. Its
// error is ctx's.
func (t *tree) history(ctx context.Context, r *report) (*history, error) {
	if why := t.noHistory(); why != "" {
		r.note("Churn is not known: %s.", why)
		return nil, nil
	}
	timed, cancel := context.WithTimeout(ctx, historyTime)
	defer cancel()
	out, cut, err := gitLog(timed, t.folder)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case timed.Err() != nil:
		r.note("Churn is not known: reading the git history took longer than %s.", historyTime)
		return nil, nil
	case errors.Is(err, exec.ErrNotFound):
		r.note("Churn is not known: git is not installed.")
		return nil, nil
	case err != nil:
		r.note("Churn is not known: git finds no history to read (%v).", err)
		return nil, nil
	}
	h := parseLog(out)
	if cut {
		r.note("The git history is long: only the newest %d commits that fit into %d bytes of it were counted.", h.commits, historyMax)
	} else if h.commits == commitsMax {
		r.note("Only the newest %d commits were counted.", commitsMax)
	}
	if _, err := t.root.Lstat(".git/shallow"); err == nil {
		r.note("The git history is a shallow clone, so churn is counted in %s only.", count(h.commits, "commit", "commits"))
	}
	return h, nil
}

// noHistory says why git must not be asked, or "". The folder is the only one that may be read, so
// a repository whose parts lie elsewhere is not followed.
func (t *tree) noHistory() string {
	info, err := t.root.Lstat(".git")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "the folder has no .git"
	case err != nil:
		return ".git cannot be looked at"
	case !info.IsDir():
		return "the git repository lies outside of the folder"
	}
	for _, dir := range []string{".git", ".git/objects", ".git/objects/pack", ".git/objects/info", ".git/refs", ".git/refs/heads"} {
		if name := t.linkIn(dir); name != "" {
			return "parts of the git repository are symbolic links (" + name + ")"
		}
	}
	for _, name := range []string{".git/objects/info/alternates", ".git/commondir"} {
		if _, err := t.root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return "parts of the git repository lie outside of the folder (" + name + ")"
		}
	}
	return ""
}

// linkIn returns the first symbolic link of a folder, or "".
func (t *tree) linkIn(dir string) string {
	f, err := t.root.Open(dir)
	if err != nil {
		return ""
	}
	defer f.Close()
	entries, err := f.ReadDir(commitsMax)
	if err != nil && !errors.Is(err, io.EOF) {
		return dir
	}
	first := ""
	for _, e := range entries {
		if name := dir + "/" + e.Name(); e.Type()&fs.ModeSymlink != 0 && (first == "" || name < first) {
			first = name
		}
	}
	return first
}

// gitLog asks git for the newest commits with the lines that each changed. The repository is not
// trusted: no hook, filter, pager or external program that its configuration names is run, and
// nothing is fetched. Cut says that there was more output than is read.
func gitLog(ctx context.Context, folder string) (out []byte, cut bool, err error) {
	cmd := exec.CommandContext(ctx, "git",
		"--no-pager", "--git-dir="+filepath.Join(folder, ".git"), "--work-tree="+folder,
		"-c", "safe.directory="+folder, "-c", "core.quotePath=false", "-c", "log.showSignature=false",
		"-c", "core.fsmonitor=false", "-c", "core.hooksPath="+os.DevNull, "-c", "protocol.allow=never", "-c", "log.follow=false",
		"log", "-n", strconv.Itoa(commitsMax), "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv",
		"--no-color", "--no-decorate", "--no-mailmap", "--no-show-signature", "--no-diff-merges", "--ignore-submodules=all",
		"--format=%x01%ct%x01%ae", "HEAD", "--")
	cmd.Dir = folder
	cmd.Env = gitEnv()
	cmd.WaitDelay = time.Second
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, false, err
	}
	if err := cmd.Start(); err != nil {
		return nil, false, err
	}
	out, readErr := io.ReadAll(io.LimitReader(stdout, historyMax+1))
	if cut = len(out) > historyMax; cut {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return nil, false, errors.Join(err, cmd.Wait())
		}
		out = out[:bytes.LastIndexByte(out, '\x01')] // the commit that was cut
	}
	err = cmd.Wait()
	if cut {
		return out, true, nil
	}
	return out, false, errors.Join(readErr, err)
}

// gitEnv is all that git sees of the environment.
func gitEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + os.DevNull, "XDG_CONFIG_HOME=" + os.DevNull,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none",
		"GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1",
	}
}

// parseLog reads what gitLog returned. Lines that are neither a commit's head nor a file's numbers
// are left out, as are names that git quotes.
func parseLog(out []byte) *history {
	h := &history{authors: map[string]bool{}, files: map[string]*churn{}}
	scan := bufio.NewScanner(bytes.NewReader(out))
	scan.Buffer(nil, historyMax+1)
	for scan.Scan() {
		line := scan.Text()
		if head, ok := strings.CutPrefix(line, "\x01"); ok {
			h.commit(head)
			continue
		}
		fields := strings.SplitN(line, "\t", 3)
		if len(fields) != 3 || h.commits == 0 || strings.HasPrefix(fields[2], `"`) {
			continue
		}
		h.change(fields[0], fields[1], fields[2])
	}
	return h
}

func (h *history) commit(head string) {
	stamp, author, ok := strings.Cut(head, "\x01")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if !ok || err != nil {
		return
	}
	if h.commits == 0 {
		h.first, h.last = seconds, seconds
	}
	h.commits++
	h.authors[author] = true
	h.first, h.last = min(h.first, seconds), max(h.last, seconds)
}

// linesMax bounds the number of lines that one change may count, so that no sum overflows.
const linesMax = 1 << 24

// change counts one file of one commit. A binary file's numbers are dashes: it changed, by no lines.
func (h *history) change(added, deleted, name string) {
	c := h.files[name]
	if c == nil {
		c = &churn{}
		h.files[name] = c
	}
	c.commits++
	for _, n := range []string{added, deleted} {
		if v, err := strconv.ParseUint(n, 10, 32); err == nil {
			c.lines += int(min(v, linesMax))
		}
	}
}
