package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/fault"
)

const topicsHelp = `Publish events on topics, and read them.

Every event is kept for 30 days, or as long as its topic is declared to, so that it can be read again from any time or
position. Runs that await it, and manifests that are watched, get each event once. Other readers keep their position under
a name (a cursor), or share the events with others of a group.`

func (a *app) newTopics() *cobra.Command {
	cmd := &cobra.Command{
		Use: "topics", Short: "Publish events, read them, replay them", Long: topicsHelp, Args: noSubcommand, RunE: help,
		Example: "  polity topics publish orders.placed --data '{\"order\": 17}'\n  polity topics list\n  polity topics tail 'orders.*' --from-time 1h",
	}
	cmd.AddCommand(a.newTopicsPublish(), a.newTopicsList(), a.newTopicsShow(), a.newTopicsDeclare(), a.newTopicsTail(), a.newTopicsReplay(),
		a.newTopicsDead(), a.newTopicsForget())
	return cmd
}

// topicsDo asks the node for one thing and tells it.
func (a *app) topicsDo(ctx context.Context, q polity.TopicsRequest, tell func(polity.TopicsAnswer) error) error {
	return a.with(ctx, func(ctx context.Context, n node) error {
		answer, err := n.Topics(ctx, q)
		if err != nil {
			return err
		}
		return tell(answer)
	})
}

func (a *app) newTopicsList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List topics, groups and cursors, and how far each is", Args: args(cobra.NoArgs),
		Long:    "List topics, groups and cursors, and how far each is.\n\nThe lag of a group is what was not given out yet; that of a cursor how many positions are after it, of whatever topics.",
		Example: "  polity topics list\n  polity topics list -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.topicsDo(cmd.Context(), polity.TopicsRequest{State: true}, func(answer polity.TopicsAnswer) error {
			if output.value == "json" {
				return a.writeJSON(answer.State)
			}
			return a.topicsTable(answer.State)
		})
	}
	return cmd
}

func (a *app) topicsTable(s *polity.Topics) error {
	rows := [][]string{{"TOPIC", "EVENTS", "KEPT", "SCHEMA"}}
	for _, t := range s.Topics {
		keep, schema := "30d", "-"
		if t.Keep > 0 {
			keep = t.Keep.String()
		}
		if t.Version > 0 {
			schema = fmt.Sprintf("v%d %s", t.Version, t.Mode)
		} else if t.Schema != nil {
			schema = "yes"
		}
		rows = append(rows, []string{t.Topic, fmt.Sprint(t.Events), keep, schema})
	}
	text := table(rows) + uses(s.Topics)
	rows = [][]string{{"READER", "TOPIC", "POSITION", "LAG", "OUT"}}
	for _, g := range s.Groups {
		rows = append(rows, []string{"group " + g.Name, g.Topic, fmt.Sprint(g.Done), fmt.Sprint(g.Pending), fmt.Sprint(g.Out)})
	}
	for _, c := range s.Cursors {
		rows = append(rows, []string{"cursor " + c.Name, c.Topic, fmt.Sprint(c.At), fmt.Sprint(s.Last - min(c.At, s.Last)), "-"})
	}
	if len(rows) > 1 {
		text += "\n" + table(rows)
	}
	return a.outf("%s\npositions %d to %d are kept; runs have what they await up to %d (lag %d)\n", text, s.First, s.Last, s.Taken, s.Last-min(s.Taken, s.Last))
}

// uses is a table of which releases read and write topics, with an empty line before it; "" if none does.
func uses(topics []polity.Topic) string {
	rows := [][]string{{"RELEASE", "TOPIC", "READS", "WRITES"}}
	for _, t := range topics {
		for _, u := range t.Uses {
			writes := "-"
			if u.Writes > 0 {
				writes = strconv.Itoa(u.Writes)
			}
			rows = append(rows, []string{u.Release, t.Topic, cmp.Or(u.Reads, "-"), writes})
		}
	}
	if len(rows) == 1 {
		return ""
	}
	return "\n" + table(rows)
}

func (a *app) newTopicsShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show TOPIC", Short: "Show how a topic is declared, and who reads and writes it", Args: args(cobra.ExactArgs(1)),
		Long:    "Show how a topic is declared, the newest version of its schema, and which versions installed releases read and write.",
		Example: "  polity topics show orders.placed\n  polity topics show orders.placed -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.topicsDo(cmd.Context(), polity.TopicsRequest{State: true}, func(answer polity.TopicsAnswer) error {
			for _, t := range answer.State.Topics {
				switch {
				case t.Topic != args[0]:
				case output.value == "json":
					return a.writeJSON(t)
				default:
					return a.showTopic(t)
				}
			}
			return fault.NotFound.New("topic %q has no events and is not declared; see: polity topics list", args[0])
		})
	}
	return cmd
}

func (a *app) showTopic(t polity.Topic) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s  %s\n", t.Topic, count(int(t.Events), "event"))
	if t.About != "" {
		fmt.Fprintf(&text, "%s\n", clean(t.About))
	}
	fmt.Fprintf(&text, "kept for %s\n", cmp.Or(t.Keep, polity.TopicKeepMax))
	text.WriteString(uses([]polity.Topic{t}))
	if t.Schema == nil {
		text.WriteString("\nno schema: any JSON may be published\n")
		return a.outf("%s", &text)
	}
	var schema bytes.Buffer
	if err := json.Indent(&schema, t.Schema, "", "  "); err != nil {
		return fault.Damaged.New("topic %s: schema: %w", t.Topic, err)
	}
	what := "schema"
	if t.Version > 0 {
		what = fmt.Sprintf("schema: version %d, mode %s (polity schemas show %s)", t.Version, t.Mode, t.Topic)
	}
	return a.outf("%s\n%s\n%s\n", &text, what, &schema)
}

const declareHelp = `Declare how the events of a topic are to be: the JSON Schema of their data, and how long they are kept.

What is published and does not fit the schema is refused. The schema is registered as the next version of the topic's: one that does not fit
those before it is refused, too (see: polity schemas register --help). What was published before stays as it is. --retract takes back how long
events are kept; what is registered stays.

An organization that publishes declares its topics itself, under topics: of its manifest.`

func (a *app) newTopicsDeclare() *cobra.Command {
	var t polity.Topic
	var schema string
	var retract bool
	cmd := &cobra.Command{
		Use: "declare TOPIC", Short: "Declare the schema of a topic's events, and how long they are kept", Long: declareHelp, Args: args(cobra.ExactArgs(1)),
		Example: "  polity topics declare orders.placed --schema @order.schema.json --keep 24h --about 'An order was placed.'",
	}
	cmd.Flags().StringVar(&schema, "schema", "", "JSON Schema of the events' data, or @FILE (default any data)")
	cmd.Flags().DurationVar(&t.Keep, "keep", 0, "how long an event is kept, as in 24h (default 720h, which is the most)")
	cmd.Flags().StringVar(&t.About, "about", "", "what the topic is about")
	cmd.Flags().BoolVar(&retract, "retract", false, "take the declaration back")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t.Topic = args[0]
		q := polity.TopicsRequest{Declare: &t}
		if retract {
			q = polity.TopicsRequest{Retract: args[0]}
		} else if schema != "" {
			raw, err := a.inputText(schema)
			if err != nil {
				return fault.Invalid.New("--schema: %w", err)
			}
			if !json.Valid(raw) {
				return fault.Invalid.New("--schema is not JSON")
			}
			t.Schema = raw
		}
		return a.topicsDo(cmd.Context(), q, func(polity.TopicsAnswer) error { return a.outf("%s\n", clean(args[0])) })
	}
	return cmd
}

func (a *app) newTopicsForget() *cobra.Command {
	var group, release bool
	cmd := &cobra.Command{
		Use: "forget NAME", Short: "Remove a cursor, a group, or what a release reads and writes", Args: args(cobra.ExactArgs(1)),
		Long: "Remove a cursor, or with --group a group with how far it was. Its dead letters stay.\n\nWith --release NAME is an organization that is not used any more: " +
			"others need not understand what it writes any more, nor write what it reads. Its next run or watch says it again.",
		Example: "  polity topics forget billing\n  polity topics forget workers --group\n  polity topics forget clerks --release",
	}
	cmd.Flags().BoolVar(&release, "release", false, "NAME is the name of an organization")
	cmd.Flags().BoolVar(&group, "group", false, "NAME is a group")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q := polity.TopicsRequest{Forget: args[0]}
		switch {
		case group && release:
			return usagef("give one of --group and --release")
		case group:
			q = polity.TopicsRequest{Leave: args[0]}
		case release:
			q = polity.TopicsRequest{Release: args[0]}
		}
		return a.topicsDo(cmd.Context(), q, func(polity.TopicsAnswer) error { return a.outf("%s forgotten\n", clean(args[0])) })
	}
	return cmd
}

// --- reading

const tailHelp = `Print events of a topic, a line each, and go on with what is published until Ctrl-C.

It begins with what is published from now on, or --from-seq a position, or --from-time a time (an RFC 3339 time, or how long ago, as
in 1h). --once ends when there is nothing more.

--cursor NAME keeps the position: the next tail with that name goes on there. An event is printed before its position is kept, so after a
crash the last ones may be printed again.

--group NAME shares the events with every other tail of that group: each event goes to one of them. After "--" stands a command that is
run for each event, with the event as JSON on its standard input; when it exits with 0 the event is done, else it is given out again after a
while (--retry, doubled each time), to whoever is there. After --tries it is a dead letter: see polity topics dead. Without a command an
event is done when it is printed. What these flags say counts when the group is made.`

type tailFlags struct {
	fromSeq         uint64
	fromTime        string
	cursor          string
	once            bool
	group           polity.TopicGroup
	since           time.Time
	where           polity.Where
	output          *choice
	command         []string
	whereText, name string
}

func (a *app) newTopicsTail() *cobra.Command {
	f := tailFlags{group: polity.TopicGroup{}.Or()}
	cmd := &cobra.Command{
		Use: "tail TOPIC [-- COMMAND ...]", Short: "Print events as they are published, or from a time or position", Long: tailHelp,
		Example: "  polity topics tail 'orders.*'\n  polity topics tail orders.placed --from-time 24h --once -o json\n" +
			"  polity topics tail '>' --cursor audit\n  polity topics tail orders.placed --group workers -- ./handle-order",
		Args: args(cobra.MinimumNArgs(1)),
	}
	flags := cmd.Flags()
	flags.Uint64Var(&f.fromSeq, "from-seq", 0, "begin with this position")
	flags.StringVar(&f.fromTime, "from-time", "", "begin with this time, or so long ago, as in 1h")
	flags.StringVar(&f.cursor, "cursor", "", "go on where this name was, and keep the position")
	flags.StringVar(&f.group.Name, "group", "", "share the events with others of this name")
	flags.IntVar(&f.group.Tries, "tries", f.group.Tries, "how often the group tries an event")
	flags.DurationVar(&f.group.Within, "within", f.group.Within, "an event of the group that is not done for so long is given out again")
	flags.DurationVar(&f.group.Retry, "retry", f.group.Retry, "wait before a second try")
	flags.StringVar(&f.whereText, "where", "", "only events that are so, as in 'data.total > 100'")
	flags.BoolVar(&f.once, "once", false, "end when there is nothing more")
	f.output = outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.name, f.command = args[0], args[1:]
		if err := f.check(time.Now()); err != nil {
			return err
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		err := a.with(ctx, func(ctx context.Context, n node) error {
			if f.group.Name != "" {
				return a.tailGroup(ctx, n, &f)
			}
			return a.tailTopic(ctx, n, &f)
		})
		if err != nil && ctx.Err() != nil {
			return nil // as it was meant to end
		}
		return err
	}
	return cmd
}

// check checks what the flags say together.
func (f *tailFlags) check(now time.Time) (err error) {
	switch {
	case f.fromSeq > 0 && f.fromTime != "":
		return usagef("give one of --from-seq and --from-time")
	case f.cursor != "" && f.group.Name != "":
		return usagef("give one of --cursor and --group: a group keeps its position by itself")
	case len(f.command) > 0 && f.group.Name == "":
		return usagef("a command goes with --group")
	case f.whereText != "" && f.group.Name != "":
		return usagef("--where does not go with --group")
	}
	if f.since, err = sinceTime(f.fromTime, now); err != nil {
		return err
	}
	if f.whereText != "" {
		if f.where, err = polity.ParseWhere(f.whereText); err != nil {
			return usagef("--where: %s", err)
		}
	}
	f.group.Topic, f.group.From, f.group.Since = f.name, f.fromSeq, f.since
	return nil
}

// sinceTime reads a time, or how long ago it was.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, usagef("%q: want a time as in 2026-11-26T08:00:00Z, or how long ago, as in 1h", text)
	}
	return at, nil
}

const tailWait = 2 * time.Second // for news, at one look

func (a *app) tailTopic(ctx context.Context, n node, f *tailFlags) error {
	q := polity.TopicRead{Topic: f.name}
	var err error
	if q.After, q.Since, err = f.begin(ctx, n); err != nil {
		return err
	}
	if !f.once {
		q.Wait = tailWait
	}
	for {
		answer, err := n.Topics(ctx, polity.TopicsRequest{Read: &q})
		if err != nil {
			return err
		}
		for _, e := range answer.Events {
			if f.where.Holds(e) {
				if err := a.tellEvent(e, f.output.value); err != nil {
					return err
				}
			}
		}
		if len(answer.Events) > 0 {
			q.After, q.Since = answer.Next, time.Time{}
			if f.cursor != "" {
				c := polity.TopicCursor{Name: f.cursor, Topic: f.name, At: q.After}
				if _, err := n.Topics(ctx, polity.TopicsRequest{Cursor: &c}); err != nil {
					return err
				}
			}
		} else if f.once {
			return nil
		}
	}
}

// begin returns where to begin, and keeps it if it is to be kept.
func (f *tailFlags) begin(ctx context.Context, n node) (after uint64, since time.Time, err error) {
	if f.fromSeq > 0 {
		return f.fromSeq - 1, since, nil
	}
	if !f.since.IsZero() {
		return 0, f.since, nil
	}
	if f.cursor != "" {
		answer, err := n.Topics(ctx, polity.TopicsRequest{State: true})
		if err != nil {
			return 0, since, err
		}
		for _, c := range answer.State.Cursors {
			if c.Name != f.cursor {
				continue
			}
			if c.Topic != f.name {
				return 0, since, fault.Conflict.New("cursor %s reads %s, not %s: name another one", c.Name, c.Topic, f.name)
			}
			return c.At, since, nil
		}
	}
	answer, err := n.Topics(ctx, polity.TopicsRequest{Read: &polity.TopicRead{Topic: f.name, After: math.MaxInt64}})
	if err == nil && f.cursor != "" {
		_, err = n.Topics(ctx, polity.TopicsRequest{Cursor: &polity.TopicCursor{Name: f.cursor, Topic: f.name, At: answer.Next}})
	}
	return answer.Next, since, err
}

func (a *app) tellEvent(e polity.Published, output string) error {
	if output != "json" {
		return a.outf("%d  %s  %s  %s  %s\n", e.Seq, moment(e.At), clean(e.Topic), clean(e.ID), clean(string(e.Data)))
	}
	line, err := oneLine(e)
	if err != nil {
		return err
	}
	return a.out(line)
}

// oneLine is a value as a line of JSON.
func oneLine(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fault.Internal.New("write JSON: %w", err)
	}
	return b.Bytes(), nil
}

func (a *app) tailGroup(ctx context.Context, n node, f *tailFlags) error {
	if _, err := n.Topics(ctx, polity.TopicsRequest{Join: &f.group}); err != nil {
		return err
	}
	take := polity.TopicTake{Group: f.group.Name, Most: 1, Wait: tailWait}
	for {
		answer, err := n.Topics(ctx, polity.TopicsRequest{Take: &take})
		if err != nil {
			return err
		}
		if len(answer.Work) == 0 && f.once {
			return nil
		}
		for _, w := range answer.Work {
			settle := polity.TopicSettle{Group: f.group.Name, Token: w.Token}
			if settle.Failed, err = a.work(ctx, w, f); err != nil {
				return err
			}
			if _, err := n.Topics(ctx, polity.TopicsRequest{Settle: &settle}); err != nil {
				return err
			}
		}
	}
}

// work does one event of a group, and returns why it was not done, if so.
func (a *app) work(ctx context.Context, w polity.TopicWork, f *tailFlags) (failed string, err error) {
	if len(f.command) == 0 {
		return "", a.tellEvent(w.Published, f.output.value)
	}
	line, err := oneLine(w)
	if err != nil {
		return "", err
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, f.command[0], f.command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(line), a.stdout, &stderr
	cmd.Env = append(os.Environ(), "POLITY_TOPIC="+w.Topic, "POLITY_EVENT="+w.ID, "POLITY_TRY="+strconv.Itoa(w.Try))
	err = cmd.Run()
	if ctx.Err() != nil {
		return "", fault.Cancelled.New("topics: %w", context.Cause(ctx))
	}
	if err == nil {
		return "", nil
	}
	failed = strings.TrimSpace(err.Error() + ": " + clean(clip(stderr.String(), askShown)))
	a.screen.say("note: %s %s, try %d: %s", clean(w.Topic), clean(w.ID), w.Try, failed)
	return failed, nil
}

// --- dead letters

const deadHelp = `Dead letters are events that a group did not get done, with the reason of the last try.

"replay" gives them to their group again, and to nobody else; "drop" removes them. They are kept for 90 days.`

func (a *app) newTopicsDead() *cobra.Command {
	cmd := &cobra.Command{
		Use: "dead", Short: "Look at what a group did not get done, and give it out again", Long: deadHelp, Args: noSubcommand, RunE: help,
		Example: "  polity topics dead list --group workers\n  polity topics dead replay 3\n  polity topics dead drop --group workers --all",
	}
	cmd.AddCommand(a.newDeadList(), a.newDeadDo("replay", "Give dead letters to their group again"), a.newDeadDo("drop", "Remove dead letters"))
	return cmd
}

func (a *app) newDeadList() *cobra.Command {
	q := polity.TopicDead{Do: "list"}
	cmd := &cobra.Command{
		Use: "list", Short: "List dead letters, the oldest first, at most 1000", Args: args(cobra.NoArgs),
		Example: "  polity topics dead list\n  polity topics dead list --group workers -o json",
	}
	cmd.Flags().StringVar(&q.Group, "group", "", "of this group (default all)")
	cmd.Flags().Uint64Var(&q.After, "after", 0, "after this letter")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.topicsDo(cmd.Context(), polity.TopicsRequest{Dead: &q}, func(answer polity.TopicsAnswer) error {
			if output.value == "json" {
				return a.writeJSON(append([]polity.DeadLetter{}, answer.Letters...))
			}
			for _, l := range answer.Letters {
				err := a.outf("%d  %s  %s  %s  %s  %s: %s\n", l.Letter, moment(l.At), clean(l.Group), clean(l.Topic), clean(l.ID), count(l.Tries, "attempt"), clean(l.Reason))
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

func (a *app) newDeadDo(do, short string) *cobra.Command {
	q := polity.TopicDead{Do: do}
	var all bool
	cmd := &cobra.Command{
		Use: do + " [LETTER]", Short: short, Args: args(cobra.MaximumNArgs(1)),
		Example: "  polity topics dead " + do + " 3\n  polity topics dead " + do + " --group workers --all",
	}
	cmd.Flags().StringVar(&q.Group, "group", "", "of this group (default all)")
	cmd.Flags().BoolVar(&all, "all", false, "all of them, up to 1000")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) == 1) {
			return usagef("give a letter, or --all")
		}
		if !all {
			n, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil || n == 0 {
				return usagef("%q is no letter; see: polity topics dead list", args[0])
			}
			q.Letter = n
		}
		return a.topicsDo(cmd.Context(), polity.TopicsRequest{Dead: &q}, func(answer polity.TopicsAnswer) error {
			return a.outf("%s\n", count(answer.Count, "letter"))
		})
	}
	return cmd
}
