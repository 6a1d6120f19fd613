package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/engine"
	"polity.run/fault"
)

const archiveHelp = `Keep finished runs in files, many in each, that can be read without the state folder.

An organization's manifest says how long its runs are kept:

  retention: {keep: 90d, archive: true}

The rule is that of the release with which a run began. With archive: false a run is deleted instead, as "polity runs
delete" does, if it has a key of its own. A process that serves the state folder for longer does that by itself, about once an
hour, and waits with a file until there are many runs for it or a day has passed; "polity archive run" does it now.

The files lie in the folder archive of the state folder, or in --archive-dir, which only one state folder may use. They are in
no backup: copy them as they are, they never change. What is enciphered stays so: who is erased is erased there too.`

func (a *app) newArchive() *cobra.Command {
	cmd := &cobra.Command{
		Use: "archive", Short: "Keep finished runs in files, many in each", Long: archiveHelp, Args: noSubcommand, RunE: help,
		Example: "  polity archive run --dry-run\n  polity archive list\n  polity archive verify state/archive/desk/00000001.archive",
	}
	cmd.AddCommand(a.newArchiveRun(), a.newArchiveList(), a.newArchiveShow(), a.newArchiveVerify(), a.newArchiveRestore())
	return cmd
}

// old is the flag --older-than.
type old struct{ age *polity.Duration }

func (o *old) String() string {
	if o.age == nil {
		return ""
	}
	return o.age.String()
}

func (*old) Type() string { return "TIME" }

func (o *old) Set(text string) error {
	d, err := time.ParseDuration(text)
	for unit, hours := range map[string]int{"d": 24, "w": 7 * 24} {
		if n, found := strings.CutSuffix(text, unit); found {
			var count int
			count, err = strconv.Atoi(n)
			d = time.Duration(count) * time.Duration(hours) * time.Hour
			if err == nil && count > oldDaysMax {
				err = errors.New("too long")
			}
		}
	}
	if err != nil || d < 0 {
		return fmt.Errorf("want a time such as 90d, 4w or 36h")
	}
	age := polity.Duration(d)
	o.age = &age
	return nil
}

const oldDaysMax = 10_000 // days or weeks of --older-than

const archiveRunHelp = `Archive the runs that are older than their manifests say that they are kept, and delete those whose manifests want that.

With --older-than every finished run that ended longer ago is archived, whatever its manifest says of keep; runs of a
manifest with archive: false are left.

A run that has not ended, or is held, stays as it is. A run that is in a file is not archived again. A file appears when it is
complete and on the disk, or not at all: what was interrupted is done by the next time. The runs stay in the state folder.`

func (a *app) newArchiveRun() *cobra.Command {
	var q polity.Retain
	var older old
	cmd := &cobra.Command{
		Use: "run", Short: "Archive old runs now", Long: archiveRunHelp, Args: args(cobra.NoArgs),
		Example: "  polity archive run --dry-run\n  polity archive run --org desk --older-than 90d",
	}
	cmd.Flags().StringVar(&q.Org, "org", "", "only runs of the organization with the name")
	cmd.Flags().Var(&older, "older-than", "what ended longer ago, as 90d, 4w or 36h, whatever manifests say")
	cmd.Flags().BoolVar(&q.DryRun, "dry-run", false, "only say what would be done")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		q.OlderThan = older.age
		if a.archives != "" {
			if q.Dir, err = filepath.Abs(a.archives); err != nil {
				return fault.Invalid.New("--archive-dir: %w", err)
			}
		}
		var done polity.Retained
		err = a.with(cmd.Context(), func(ctx context.Context, n node) (err error) {
			done, err = n.Retain(ctx, q, a.progress())
			return err
		})
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(done)
		}
		return a.outf("%s", retainedText(done))
	}
	return cmd
}

func retainedText(r polity.Retained) string {
	would := ""
	if r.DryRun {
		would = "would be "
	}
	var b strings.Builder
	for _, o := range r.Orgs {
		fmt.Fprintf(&b, "%s: %s %sarchived, %d %sdeleted, %d left\n", clean(o.Org), count(o.Archived, "run"), would, o.Deleted, would, o.Left)
	}
	for _, f := range r.Files {
		fmt.Fprintf(&b, "%s: %s, %s, digest %.16s\n", clean(f.Path), count(f.Runs, "run"), bytesText(uint64(f.Size)), f.Digest)
	}
	for _, l := range r.Left {
		fmt.Fprintf(&b, "left %s: %s\n", clean(string(l.Run)), clean(l.Why))
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "left %s more\n", count(r.More, "run"))
	}
	if b.Len() == 0 {
		return "nothing is old enough\n"
	}
	return b.String()
}

// archiveDir is the folder of archives.
func (a *app) archiveDir() (string, error) {
	dir := a.archives
	if dir == "" {
		state, err := a.stateDir()
		if err != nil {
			return "", err
		}
		dir = engine.ArchiveDir(state)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fault.Invalid.New("folder of archives: %w", err)
	}
	return dir, nil
}

func (a *app) archiveFiles() ([]polity.ArchiveFile, error) {
	dir, err := a.archiveDir()
	if err != nil {
		return nil, err
	}
	return engine.Archives(dir)
}

const archiveListHelp = `List the files of archived runs, by organization and age.

Of each file its head, its index and its end are read. One that is damaged there says so; "polity archive verify" says what is
sound of it. The digest stands for all that a file holds.`

func (a *app) newArchiveList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the files of archived runs", Long: archiveListHelp, Args: args(cobra.NoArgs),
		Example: "  polity archive list\n  polity archive list --archive-dir /mnt/archive -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(*cobra.Command, []string) error {
		files, err := a.archiveFiles()
		if err != nil {
			return err
		}
		if output.value == "json" {
			if files == nil {
				files = []polity.ArchiveFile{}
			}
			return a.writeJSON(files)
		}
		if len(files) == 0 {
			a.screen.say("note: nothing is archived; see: polity archive --help")
			return nil
		}
		rows := [][]string{{"ORG", "RUNS", "ENDED", "SIZE", "DIGEST", "FILE"}}
		for _, f := range files {
			if f.Damage != "" {
				rows = append(rows, []string{clean(f.Org), "damaged", "", "", "", clean(f.Path)})
				continue
			}
			rows = append(rows, []string{clean(f.Org), strconv.Itoa(f.Runs), spanText(f), bytesText(uint64(f.Size)), f.Digest[:16], clean(f.Path)})
		}
		if err := a.outf("%s", table(rows)); err != nil {
			return err
		}
		return damagedFiles(files)
	}
	return cmd
}

// damagedFiles is the error of a list in which a file is damaged.
func damagedFiles(files []polity.ArchiveFile) error {
	var all []error
	for _, f := range files {
		if f.Damage != "" {
			all = append(all, fault.Damaged.New("%s. See: polity archive verify %s", f.Damage, f.Path))
		}
	}
	return errors.Join(all...)
}

func spanText(f polity.ArchiveFile) string {
	from, to := f.From.Local().Format(time.DateOnly), f.To.Local().Format(time.DateOnly)
	if from == to {
		return from
	}
	return from + " to " + to
}

const archiveShowHelp = `List the runs of a file, or say in which file a run is.

Everything else about a run is told once it is restored, or exported from a state folder that has it.`

func (a *app) newArchiveShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show FILE|ID", Short: "List the runs of a file, or say where a run is", Long: archiveShowHelp, Args: args(cobra.ExactArgs(1)),
		Example: "  polity archive show state/archive/desk/00000001.archive\n  polity archive show k3j2",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if strings.ContainsAny(args[0], `/.\`) {
			file, runs, err := engine.ReadArchive(args[0])
			if err != nil {
				return err
			}
			return a.printArchived(file, runs, output.value)
		}
		file, r, err := a.findArchived(args[0], "")
		if err != nil {
			return err
		}
		return a.printArchived(file, []polity.ArchivedRun{r}, output.value)
	}
	return cmd
}

func (a *app) printArchived(f polity.ArchiveFile, runs []polity.ArchivedRun, form string) error {
	if form == "json" {
		return a.writeJSON(map[string]any{"file": f, "runs": runs})
	}
	rows := [][]string{{"ID", "AGENT", "STATUS", "OPENED", "ENDED", "EVENTS", "SIZE", ""}}
	for _, r := range runs {
		sealed := ""
		if r.Key != "" {
			sealed = "enciphered"
		}
		rows = append(rows, []string{clean(string(r.Run)), clean(r.Agent), r.Status.String(), moment(r.Opened), moment(r.Ended),
			strconv.Itoa(r.Events), bytesText(uint64(r.Bytes)), sealed})
	}
	return a.outf("%s: %s of %s, %s, digest %.16s\n%s", clean(f.Path), count(f.Runs, "run"), clean(f.Org), bytesText(uint64(f.Size)), f.Digest, table(rows))
}

// findArchived returns the run that an ID, or the beginning of one, means in a file, or in all of them.
func (a *app) findArchived(text, path string) (polity.ArchiveFile, polity.ArchivedRun, error) {
	files := []polity.ArchiveFile{{Path: path}}
	if path == "" {
		var err error
		if files, err = a.archiveFiles(); err != nil {
			return polity.ArchiveFile{}, polity.ArchivedRun{}, err
		}
	}
	var in polity.ArchiveFile
	var found []polity.ArchivedRun
	for _, f := range files {
		if f.Damage != "" {
			a.screen.say("note: not looked into: %s", clean(f.Damage))
			continue
		}
		head, runs, err := engine.ReadArchive(f.Path)
		if err != nil {
			return head, polity.ArchivedRun{}, err
		}
		for _, r := range runs {
			if begins(r.Run, polity.RunID(text)) {
				in, found = head, append(found, r)
			}
		}
	}
	switch len(found) {
	case 1:
		return in, found[0], nil
	case 0:
		return in, polity.ArchivedRun{}, fault.NotFound.New("no archive holds a run %q; see: polity archive list", text)
	default:
		return in, found[0], fault.Invalid.New("%q is the beginning of %d runs, as of %s and %s; write more of it", text, len(found), found[0].Run, found[1].Run)
	}
}

const archiveVerifyHelp = `Check a file of archived runs, without a state folder.

Every part is held against its digest. Of every run the log has to be one chain of hashes from its opening on, and every
document has to be there and be what its digest says, as with "polity runs verify". The index and the head have to say what the
runs do. Of a damaged file it is told what is sound. The digest that is printed stands for all that the file holds.

The exit code is 1 if something is damaged.`

func (a *app) newArchiveVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "Check that a file of archived runs is whole", Long: archiveVerifyHelp, Args: args(cobra.ExactArgs(1)),
		Example: "  polity archive verify state/archive/desk/00000001.archive",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		found, err := engine.VerifyArchive(ctx, args[0], a.progress())
		if err != nil {
			return err
		}
		return a.printArchiveCheck(args[0], found, output.value)
	}
	return cmd
}

func (a *app) printArchiveCheck(path string, found polity.ArchiveCheck, form string) error {
	n := len(found.Damage)
	if form == "json" {
		if err := a.writeJSON(found); err != nil {
			return err
		}
	} else {
		var b strings.Builder
		if n == 0 {
			fmt.Fprintf(&b, "%s: whole: %s of %s, ended %s, %s\ndigest %s\n", clean(path), count(found.Sound, "run"), clean(found.File.Org),
				spanText(found.File), bytesText(uint64(found.File.Size)), found.File.Digest)
		} else {
			fmt.Fprintf(&b, "sound  %s\n", count(found.Sound, "run"))
		}
		for _, d := range found.Damage {
			writeDamage(&b, d)
		}
		if err := a.outf("%s", b.String()); err != nil {
			return err
		}
	}
	if n > 0 {
		return fault.Damaged.New("%s: %s; %s can be restored: polity archive restore ID --file %s", path, count(n, "damage"), count(found.Sound, "sound run"), path)
	}
	return nil
}

const archiveRestoreHelp = `Take a run from an archive over into the state folder, if it is not there.

It is looked for in the folder of archives, or in --file, of which what is sound is read. Everything of the run is checked first.
It keeps its ID and its times, and can then be listed, shown, replayed and compared; what was enciphered can be read if the key is in
the state folder's keys.`

func (a *app) newArchiveRestore() *cobra.Command {
	path := ""
	cmd := &cobra.Command{
		Use: "restore ID", Short: "Take a run from an archive over into the state folder", Long: archiveRestoreHelp, Args: args(cobra.ExactArgs(1)),
		Example: "  polity archive restore k3j2\n  polity archive restore 0-k3j2gk5c --file 00000001.archive --state other",
	}
	cmd.Flags().StringVar(&path, "file", "", "the file that the run is in")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, file, err := a.archivedIn(args[0], path)
		if err != nil {
			return err
		}
		var done polity.Restored
		err = a.withNode(cmd.Context(), a.connect, func(ctx context.Context, n node) (err error) {
			done, err = n.RestoreArchived(ctx, id, file)
			return err
		})
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(done)
		}
		if done.Here {
			return a.outf("%s: it is here\n", clean(string(id)))
		}
		return a.outf("%s: restored: %s of %s, %s\nhead %s\n", clean(string(id)), done.Run.Status, clean(done.Run.Agent), count(done.Run.Events, "event"), done.Run.Head)
	}
	return cmd
}

// archivedIn returns the ID of a run and the absolute path of the file that it is in. In a damaged file an ID has to be whole.
func (a *app) archivedIn(text, path string) (polity.RunID, string, error) {
	in, r, err := a.findArchived(text, path)
	id := r.Run
	if path != "" {
		in.Path = path
		if errors.Is(err, fault.Damaged) || errors.Is(err, fault.Invalid) && id == "" {
			id, err = polity.RunID(text), nil // the node says what is wrong with the file
		}
	}
	if err != nil {
		return "", "", err
	}
	file, err := filepath.Abs(in.Path)
	if err != nil {
		return "", "", fault.Invalid.New("%s: %w", in.Path, err)
	}
	return id, file, nil
}
