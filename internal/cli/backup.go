package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/engine"
	"polity.run/fault"
)

const (
	progressEvery = time.Second // between two lines of progress
	shownRuns     = 5           // of a damage
)

const verifyStateHelp = `Read everything that a state folder, or a backup, holds and say what is damaged.

Of a state folder that is the log, of which every commit holds the hash of the one before; the
anchor, which remembers how far the log went; every document that the log names; and the records
of memories, facts and topics. The files are read as they are, and nothing is changed: a process may
serve the folder meanwhile.

Of a backup, the same things as they stand in the file. What is printed as its digest stands for
all of it.

With --view it compares the view instead, from which lists and searches are answered, with one that is made
anew from the log: its tables and indexes, and each row. "polity view rebuild" mends it.

The exit code is 1 if something is damaged.`

func (a *app) newVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify [BACKUP]", Short: "Check that a state folder, or a backup, is whole", Long: verifyStateHelp,
		Example: "  polity verify\n  polity verify --view\n  polity verify --state /var/lib/polity -o json\n  polity verify monday.backup", Args: args(cobra.MaximumNArgs(1)),
	}
	output := outputFlag(cmd, "text", "text", "json")
	ofView := cmd.Flags().Bool("view", false, "compare the view with the log")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *ofView {
			if len(args) > 0 {
				return usagef("--view is of a state folder: a backup holds no view")
			}
			return a.verifyView(cmd.Context(), output.value)
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		if len(args) > 0 {
			b, err := engine.VerifyBackup(ctx, args[0], a.progress())
			if err != nil {
				return err
			}
			return a.printBackup(b, args[0]+": whole", output.value)
		}
		dir, err := a.stateDir()
		if err != nil {
			return err
		}
		began := time.Now()
		found, err := engine.Check(ctx, dir, a.progress())
		if err != nil {
			return err
		}
		return a.printIntegrity(found, dir, time.Since(began), output.value)
	}
	return cmd
}

// verifyView has the node that serves the state folder compare its view with the log.
func (a *app) verifyView(ctx context.Context, form string) error {
	return a.with(ctx, func(ctx context.Context, n node) error {
		began := time.Now()
		found, err := n.VerifyView(ctx, a.progress())
		if err != nil {
			return err
		}
		if form == "json" {
			err = a.writeJSON(found)
		} else {
			err = a.outf("%s", viewCheckText(found, time.Since(began)))
		}
		if n := len(found.Damage); err == nil && n > 0 {
			err = fault.Damaged.New("the view: %s; mend it with: polity view rebuild", count(n, "damage"))
		}
		return err
	})
}

func viewCheckText(found polity.ViewCheck, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: compared with the log up to commit %d in %s\n", clean(found.Place), found.Position, short(took))
	var rows [][]string
	for _, t := range found.Tables {
		rows = append(rows, []string{t.Name, count(int(t.Rows), "row"), t.Digest[:min(len(t.Digest), 16)]})
	}
	b.WriteString(table(rows))
	for _, d := range found.Damage {
		writeDamage(&b, d)
	}
	if len(found.Damage) > 0 {
		b.WriteString("fix    make it again from the log: polity view rebuild\n")
	}
	return b.String()
}

func (a *app) printIntegrity(found polity.Integrity, dir string, took time.Duration, form string) error {
	if form == "json" {
		if err := a.writeJSON(found); err != nil {
			return err
		}
	} else if err := a.outf("%s", integrityText(found, dir, took)); err != nil {
		return err
	}
	if n := len(found.Damage) + found.More; n > 0 {
		return fault.Damaged.New("%s: %s", dir, count(n, "damage"))
	}
	return nil
}

func integrityText(found polity.Integrity, dir string, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s with %s, %s in %s\n", clean(dir), count(int(found.Commits), "commit"), count(int(found.Events), "event"), bytesText(found.Bytes), short(took))
	fmt.Fprintf(&b, "sound  up to commit %d", found.Sound)
	if found.Head != "" {
		fmt.Fprintf(&b, " of %s, head %.16s", found.At.Local().Format(time.DateTime), found.Head)
	}
	fmt.Fprintf(&b, "\nsound  %s (%d not ended), %s, %s of memories, facts and topics\n", count(found.Runs, "run"), found.Live,
		count(found.Documents, "document"), count(found.Records, "record"))
	if found.First > 0 {
		fmt.Fprintf(&b, "note   the log begins with commit %d; what came before was dropped, and a base stands for it\n", found.First)
	}
	if found.Unnamed > 0 {
		fmt.Fprintf(&b, "note   %s that no run names: installed and never asked, or left by a commit that was not written\n", count(found.Unnamed, "document"))
	}
	for _, d := range found.Damage {
		writeDamage(&b, d)
	}
	if found.More > 0 {
		fmt.Fprintf(&b, "and %s more\n", count(found.More, "damage"))
	}
	if len(found.Damage) > 0 {
		b.WriteString("fix    restore a backup (polity restore), or take out what is sound: polity backup FILE --sound-part, then polity restore FILE --state NEWFOLDER\n")
	}
	return b.String()
}

func writeDamage(b *strings.Builder, d polity.Damage) {
	fmt.Fprintf(b, "DAMAGE %s %s: %s\n", clean(d.What), clean(d.Name), clean(d.Text))
	if len(d.Runs) == 0 {
		return
	}
	var names []string
	for _, r := range d.Runs[:min(len(d.Runs), shownRuns)] {
		names = append(names, clean(string(r)))
	}
	if n := len(d.Runs) - len(names) + d.More; n > 0 {
		names = append(names, fmt.Sprintf("and %d more", n))
	}
	fmt.Fprintf(b, "       concerned: %s\n", strings.Join(names, ", "))
}

const backupHelp = `Write everything that a state folder holds into a new file.

A process may serve the folder meanwhile and goes on: the file holds the log as far as it goes
now, the documents that the log names, memories, facts, registered schemas, what watches have
seen, and the events on topics with how far each reader is. All of it is checked on the way, and a damaged state is refused: --sound-part takes what is sound of it,
which is the log up to the first damage.

The file is compressed. It holds what is confidential, as the state folder does; keys of
providers are not in it.`

func (a *app) newBackup() *cobra.Command {
	part := false
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Write everything that a state folder holds into a file", Long: backupHelp,
		Example: "  polity backup monday.backup\n  polity backup sound.backup --sound-part --state /var/lib/polity", Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().BoolVar(&part, "sound-part", false, "take what is sound of a damaged state; nobody may serve it")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := filepath.Abs(args[0])
		if err != nil {
			return fault.Invalid.New("%s: %w", args[0], err)
		}
		var made polity.Backup
		if part {
			made, err = a.salvage(cmd.Context(), path)
		} else {
			err = a.with(cmd.Context(), func(ctx context.Context, n node) (err error) {
				made, err = n.Backup(ctx, path, a.progress())
				return err
			})
		}
		if err != nil {
			return err
		}
		return a.printBackup(made, args[0]+": backed up", output.value)
	}
	return cmd
}

func (a *app) salvage(ctx context.Context, path string) (polity.Backup, error) {
	ctx, done := a.interruptible(ctx)
	defer done()
	dir, err := a.stateDir()
	if err != nil {
		return polity.Backup{}, err
	}
	return engine.Salvage(ctx, dir, path, a.progress())
}

const restoreHelp = `Make a state folder out of a backup.

The whole file is checked before anything of it is used. The folder must not be there, or be
empty; it appears as a whole or not at all.

Runs that had not ended when the backup was made are in the folder and wait: "polity runs resume"
goes on with one. What such a run did outside after the backup was made, it may do again: with the
same key where the destination takes keys, at most once where it had begun before. So nobody may
go on with the folder that was backed up.`

func (a *app) newRestore() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Make a state folder out of a backup", Long: restoreHelp,
		Example: "  polity restore monday.backup --state /var/lib/polity", Args: args(cobra.ExactArgs(1)),
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		dir, err := a.stateDir()
		if err == nil {
			dir, err = filepath.Abs(dir)
		}
		if err != nil {
			return err
		}
		b, err := engine.Restore(ctx, args[0], dir, a.progress())
		if err != nil {
			if errors.Is(err, fault.Conflict) {
				return fault.Conflict.New("%w, with --state", err)
			}
			return err
		}
		return a.printBackup(b, dir+": restored", output.value)
	}
	return cmd
}

func (a *app) printBackup(b polity.Backup, done, form string) error {
	if form == "json" {
		return a.writeJSON(b)
	}
	var text strings.Builder
	events := ""
	if b.Events > 0 {
		events = count(b.Events, "event") + ", "
	}
	fmt.Fprintf(&text, "%s: %s, %s (%d not ended), %s, %s, %s%s\ndigest %s\n", clean(done), count(int(b.Commit), "commit"), count(b.Runs, "run"), b.Live,
		count(b.Documents, "document"), count(b.Records, "record"), events, bytesText(uint64(b.Bytes)), b.Digest)
	for _, d := range b.Damage {
		writeDamage(&text, d)
	}
	if len(b.Damage) > 0 {
		text.WriteString("note   it holds the sound part of a state that was damaged so\n")
	}
	return a.out([]byte(text.String()))
}

// progress returns what says on stderr how far long work is. Short work says nothing.
func (a *app) progress() func(polity.Progress) {
	last := time.Now()
	return func(p polity.Progress) {
		if time.Since(last) < progressEvery {
			return
		}
		last = time.Now()
		amount := func(n int64) string {
			if p.Unit == "bytes" {
				return bytesText(uint64(n))
			}
			return fmt.Sprint(n)
		}
		text := amount(p.Done)
		if p.Total > 0 {
			text += " of " + amount(p.Total)
		}
		a.screen.say("%s: %s", clean(p.Stage), text)
	}
}

// bytesText is a size with a unit.
func bytesText(n uint64) string {
	switch {
	case n < 10<<10:
		return count(int(n), "byte")
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d MiB", n>>20)
	}
}
