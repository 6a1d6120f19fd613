package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
	"polity.run/memory"
)

const (
	documentsMax = 10_000 // documents of one command
	partMax      = 500    // records that are sent at once
	hitShown     = 240    // bytes of a record that a list shows
)

const memoryHelp = `Search, fill and clear what an organization and its agents remember.

A memory belongs to an organization, by the name in its manifest, or with --agent to one of its agents. It holds
episodes (past runs), notes (what was written down) and passages of documents. Every record says where it comes
from, and what was concluded from a record is forgotten with it.`

func (a *app) newMemory() *cobra.Command {
	cmd := &cobra.Command{
		Use: "memory", Short: "Search, fill and clear what agents remember", Long: memoryHelp,
		Example: "  polity memory add desk.yaml handbook/ prices.md\n  polity memory search desk.yaml \"how are debts paid?\"\n  polity memory forget desk.yaml --run 0-k3j2",
		Args:    noSubcommand, RunE: help,
	}
	cmd.AddCommand(a.newMemoryAdd(), a.newMemorySearch(), a.newMemoryList(), a.newMemoryForget())
	return cmd
}

// remembering does something with the memory of a manifest's organization, or of an agent of it.
func (a *app) remembering(ctx context.Context, manifest, agent string, do func(ctx context.Context, ask func(client.Memory) (client.Remembered, error)) error) error {
	m, err := a.load(manifest)
	if err != nil {
		return err
	}
	if agent != "" {
		if err := checkMember(&m.Release, agent); err != nil {
			return err
		}
	}
	return a.withNode(ctx, a.connect, func(ctx context.Context, n node) error {
		return do(ctx, func(q client.Memory) (client.Remembered, error) {
			q.Release, q.Agent = &m.Release, agent
			return n.Memory(ctx, q)
		})
	})
}

const memoryAddHelp = `Add documents, or a note, to a memory.

Documents are texts in UTF-8; of a folder all of them are added, without hidden files. Each is cut into passages at its
paragraphs, under its headings. A document that was added before is replaced if it has changed. With an embeddings
model in the manifest every passage gets a vector.`

func (a *app) newMemoryAdd() *cobra.Command {
	var agent, note, title string
	cmd := &cobra.Command{
		Use: "add MANIFEST [FILE|FOLDER...]", Short: "Add documents, or a note", Long: memoryAddHelp,
		Example: "  polity memory add desk.yaml handbook/ prices.md\n  polity memory add desk.yaml --agent clerk --note \"Ada prefers letters.\"",
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (note == "") == (len(args) == 1) {
				return usagef("name documents, or write --note")
			}
			if note != "" {
				return a.addNote(cmd.Context(), args[0], agent, title, note)
			}
			files, err := documents(args[1:])
			if err != nil {
				return err
			}
			return a.addDocuments(cmd.Context(), args[0], agent, files)
		},
	}
	cmd.Flags().StringVar(&agent, "agent", "", "whose memory (default the organization's)")
	cmd.Flags().StringVar(&note, "note", "", "a text to remember")
	cmd.Flags().StringVar(&title, "title", "", "what the note is about")
	return cmd
}

func (a *app) addNote(ctx context.Context, manifest, agent, title, note string) error {
	now := time.Now().UTC()
	r := memory.Record{
		ID: "person-" + strconv.FormatInt(now.UnixNano(), 36), Kind: memory.Note, Title: title, Text: note, At: now,
	}
	return a.remembering(ctx, manifest, agent, func(_ context.Context, ask func(client.Memory) (client.Remembered, error)) error {
		if _, err := ask(client.Memory{Do: client.MemoryAdd, Records: []memory.Record{r}}); err != nil {
			return err
		}
		return a.outf("%s\n", r.ID)
	})
}

// documents lists the files that paths mean: files themselves, and of folders all that are not hidden.
func documents(paths []string) ([]string, error) {
	var out []string
	for _, path := range paths {
		err := filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return fault.NotFound.New("document %s: %w", at, err)
			case at != path && strings.HasPrefix(d.Name(), "."):
				if d.IsDir() {
					return fs.SkipDir
				}
			case d.Type().IsRegular():
				out = append(out, at)
			}
			if len(out) > documentsMax {
				return fault.Invalid.New("%s: more than %d documents; name a smaller folder", path, documentsMax)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, fault.NotFound.New("there is no document in %s", strings.Join(paths, ", "))
	}
	return out, nil
}

func (a *app) addDocuments(ctx context.Context, manifest, agent string, files []string) error {
	return a.remembering(ctx, manifest, agent, func(ctx context.Context, ask func(client.Memory) (client.Remembered, error)) error {
		added, passages := 0, 0
		for i, file := range files {
			if ctx.Err() != nil {
				return fault.Cancelled.New("after %d of %d documents; the same command goes on: %w", i, len(files), context.Cause(ctx))
			}
			records, err := passagesOf(file)
			if errors.Is(err, fault.Invalid) && len(files) > 1 {
				a.screen.say("note: left out: %s", clean(err.Error()))
				continue
			}
			if err != nil {
				return err
			}
			for part := range slices.Chunk(records, partMax) {
				if _, err := ask(client.Memory{Do: client.MemoryAdd, Records: part}); err != nil {
					return err
				}
			}
			old := memory.Filter{Document: records[0].Origin.Document, Keep: records[0].Origin.Digest}
			if _, err := ask(client.Memory{Do: client.MemoryForget, Filter: old}); err != nil {
				return err
			}
			added++
			passages += len(records)
			a.screen.say("%d of %d  %s  %s", i+1, len(files), clean(file), count(len(records), "passage"))
		}
		if added == 0 {
			return fault.Invalid.New("none of %s could be added", count(len(files), "document"))
		}
		return a.outf("%s of %s\n", count(passages, "passage"), count(added, "document"))
	})
}

// passagesOf reads a document. Its name is the path as it was given.
func passagesOf(file string) ([]memory.Record, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fault.NotFound.New("document %s: %w", file, err)
	}
	if info.Size() > memory.DocumentMax {
		return nil, fault.Invalid.New("document %s: %d bytes; the most is %d", file, info.Size(), memory.DocumentMax)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Denied.New("document %s: %w", file, err)
	}
	return memory.Passages(filepath.ToSlash(filepath.Clean(file)), data, time.Now().UTC())
}

func (a *app) newMemorySearch() *cobra.Command {
	var agent string
	var kinds []string
	limit := memory.HitsDefault
	cmd := &cobra.Command{
		Use: "search MANIFEST QUERY...", Short: "Search as an agent would", Args: args(cobra.MinimumNArgs(2)),
		Long:    "Search as an agent would: by words, and by meaning where the manifest names embeddings.\nWith --agent its own memory is searched and the organization's.",
		Example: "  polity memory search desk.yaml how are debts paid\n  polity memory search desk.yaml --agent clerk --kind episode -o json Ada",
	}
	cmd.Flags().StringVar(&agent, "agent", "", "whose memory, beside the organization's")
	cmd.Flags().StringSliceVar(&kinds, "kind", nil, "only episode, note or passage; several with commas")
	cmd.Flags().IntVar(&limit, "limit", limit, fmt.Sprintf("how many records at most, up to %d", memory.HitsMax))
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if limit < 1 || limit > memory.HitsMax {
			return usagef("--limit is not within 1 and %d", memory.HitsMax)
		}
		q := memory.Query{Text: strings.Join(args[1:], " "), Limit: limit}
		for _, k := range kinds {
			if !slices.Contains(memory.Kinds(), memory.Kind(k)) {
				return usagef("--kind: %q is not one of episode, note, passage", k)
			}
			q.Kinds = append(q.Kinds, memory.Kind(k))
		}
		return a.remembering(cmd.Context(), args[0], agent, func(_ context.Context, ask func(client.Memory) (client.Remembered, error)) error {
			found, err := ask(client.Memory{Do: client.MemorySearch, Query: q})
			if err != nil {
				return err
			}
			if output.value == "json" {
				return a.writeJSON(map[string]any{"hits": append([]memory.Hit{}, found.Hits...)})
			}
			if len(found.Hits) == 0 {
				a.screen.say("nothing is remembered of that")
			}
			for _, h := range found.Hits {
				if err := a.outf("%s  %s\n%s\n\n", clean(h.Memory), recordLine(h.Record), clean(shorten(h.Text, hitShown))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

// recordLine is a record in a line: what it is, and where it comes from.
func recordLine(r memory.Record) string {
	from := "by a person"
	switch {
	case r.Origin.Document != "":
		from = fmt.Sprintf("%s:%d", r.Origin.Document, r.Origin.Line)
	case r.Origin.Run != "":
		from = "run " + string(r.Origin.Run)
	}
	return clean(fmt.Sprintf("%s  %s  %s  %s", r.Kind, r.ID, moment(r.At), from))
}

func (a *app) newMemoryList() *cobra.Command {
	var agent string
	cmd := &cobra.Command{
		Use: "list MANIFEST", Short: "List what is remembered, and what was forgotten", Args: args(cobra.ExactArgs(1)),
		Example: "  polity memory list desk.yaml\n  polity memory list desk.yaml --agent clerk -o json",
	}
	cmd.Flags().StringVar(&agent, "agent", "", "whose memory (default the organization's)")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.remembering(cmd.Context(), args[0], agent, func(_ context.Context, ask func(client.Memory) (client.Remembered, error)) error {
			all, err := ask(client.Memory{Do: client.MemoryList})
			if err != nil {
				return err
			}
			if output.value == "json" {
				return a.writeJSON(map[string]any{
					"records": append([]memory.Record{}, all.Records...), "forgotten": append([]memory.Forgotten{}, all.Forgotten...),
				})
			}
			if len(all.Records) == 0 {
				a.screen.say("nothing is remembered here")
			}
			for _, r := range all.Records {
				title := r.Title
				if title == "" {
					title = r.Text
				}
				if err := a.outf("%s  %s\n", recordLine(r), clean(shorten(title, 80))); err != nil {
					return err
				}
			}
			for _, f := range all.Forgotten {
				if err := a.outf("forgotten  %s  %s\n", moment(f.At), count(f.Records, "record")); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

const memoryForgetHelp = `Forget records, and everything that was concluded from them.

What is meant is said by IDs, by the run that wrote it (with all runs below it), by the event that did (as records name it), by
document or by kind; several together must all hold. --all means everything. The words are removed from the disk; that
something was forgotten, and when, stays.`

func (a *app) newMemoryForget() *cobra.Command {
	var agent, run, kind string
	var f memory.Filter
	cmd := &cobra.Command{
		Use: "forget MANIFEST [ID...]", Short: "Forget records, and what was concluded from them", Long: memoryForgetHelp,
		Example: "  polity memory forget desk.yaml --document handbook/old.md\n  polity memory forget desk.yaml --agent clerk --run 0-k3j2pqtvwxyz\n  polity memory forget desk.yaml --event '0-k3j2pqtvwxyz#act.2.1'",
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.IDs, f.Run, f.Kind = args[1:], polity.RunID(run), memory.Kind(kind)
			if kind != "" && !slices.Contains(memory.Kinds(), f.Kind) {
				return usagef("--kind: %q is not one of episode, note, passage", kind)
			}
			if f.Empty() {
				return usagef("say what to forget: IDs, --run, --event, --document, --kind or --all")
			}
			return a.remembering(cmd.Context(), args[0], agent, func(_ context.Context, ask func(client.Memory) (client.Remembered, error)) error {
				done, err := ask(client.Memory{Do: client.MemoryForget, Filter: f})
				if err != nil {
					return err
				}
				n := done.Forgotten[0]
				if n.Records == 0 {
					return fault.NotFound.New("nothing that is remembered here is meant by that")
				}
				text := "forgotten: " + count(n.Records, "record")
				if n.Derived > 0 {
					text += fmt.Sprintf(", %d of them because they were concluded from the others", n.Derived)
				}
				return a.outf("%s\n", text)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&agent, "agent", "", "whose memory (default the organization's)")
	flags.StringVar(&run, "run", "", "what this run wrote, and the runs below it; its whole ID")
	flags.StringVar(&f.Event, "event", "", "what this one event wrote")
	flags.StringVar(&f.Document, "document", "", "the passages of this document")
	flags.StringVar(&kind, "kind", "", "records of this kind: episode, note or passage")
	flags.BoolVar(&f.All, "all", false, "everything")
	return cmd
}
