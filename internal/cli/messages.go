package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
	"polity.run/message"
)

const installHelp = `Give the agents of a manifest addresses, so that messages can be sent to them by name.

What was installed under the organization's name before is replaced. An agent's name is its address: of all organizations that are
installed only one can have it. Who may send to whom is said by "messages" in the manifest.`

func (a *app) newInstall() *cobra.Command {
	cmd := &cobra.Command{
		Use: "install MANIFEST", Short: "Give the agents of a manifest addresses for messages", Long: installHelp, Args: args(cobra.ExactArgs(1)),
		Example: "  polity install newsroom.yaml\n  polity send critic \"Is this ready?\"",
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, err := a.load(args[0])
		if err != nil {
			return err
		}
		return a.withNode(cmd.Context(), a.connect, func(ctx context.Context, n node) error {
			if _, err := n.Install(ctx, client.Install{Release: &m.Release, Files: m.Blobs, Enlist: true}); err != nil {
				return err
			}
			names := make([]string, 0, len(m.Release.Agents))
			for i := range m.Release.Agents {
				names = append(names, string(m.Release.Agents[i].Name))
			}
			for _, c := range m.Release.Crossings() {
				a.screen.say("note: the link from %s to %s holds while both organizations are installed and have it", c.From, c.To)
			}
			return a.outf("%s: %s\n", m.Release.Name, strings.Join(names, ", "))
		})
	}
	return cmd
}

// letterFlags are what a message says beside its recipients and its data.
type letterFlags struct {
	e          message.Envelope
	from, kind string
	act        string
	priority   string
	deadline   time.Duration
}

func (f *letterFlags) add(cmd *cobra.Command, kind message.Type) {
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "outside:operator", "who speaks: an agent, or outside:NAME")
	flags.StringVar(&f.kind, "type", string(kind), "what it is: task, result, query or notification")
	flags.StringVar(&f.act, "performative", "", "what it does, more exactly, as in cfp (default that of the type)")
	flags.StringVar(&f.e.Skill, "skill", "", "the recipients' skill (default the only one)")
	flags.StringVar(&f.e.Conversation, "conversation", "", "messages of one are taken in order (default a conversation of its own)")
	flags.StringVar(&f.priority, "priority", message.Normal.String(), "low, normal, high or urgent, or 1 to 4")
	flags.DurationVar(&f.e.TTL, "ttl", message.TTLDefault, "it is not begun with after that")
	flags.DurationVar(&f.deadline, "deadline", 0, "work on it is stopped after that (default none)")
	flags.StringVar(&f.e.ID, "id", "", "the message's ID (default a new one)")
	flags.StringVar(&f.e.Key, "key", "", "the same key again is the same message (default the ID)")
	flags.StringVar(&f.e.Correlation, "correlation", "", "ID of the message that it answers or takes back")
}

func (f *letterFlags) addLive(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.e.Live, "live", false, "keep nothing of it: it is done once at most, and lost if nobody has time for it now")
}

const dataHelp = `DATA is JSON, or a text, which stands for {"question": TEXT}; @FILE or @- reads it from a file or from stdin.`

// letter is the message that a command line says.
func (a *app) letter(f *letterFlags, to, data string) (message.Envelope, error) {
	e := f.e
	e.ID = cmp.Or(e.ID, rand.Text())
	e.Type, e.Performative = message.Type(f.kind), polity.Performative(f.act)
	if f.act != "" {
		e.Type = message.TypeOf(e.Performative)
	}
	var err error
	if e.From, err = message.ParseAddress(f.from); err != nil {
		return e, usagef("--from: %w", err)
	}
	if e.Priority, err = message.ParsePriority(f.priority); err != nil {
		return e, usagef("--priority: %w", err)
	}
	if e.TTL == 0 { // which stands for the default
		return e, usagef("--ttl: 0s: want %s to %s", message.TTLMin, message.TTLMax)
	}
	if f.deadline < 0 {
		return e, usagef("--deadline: %s is over", f.deadline)
	}
	for text := range strings.SplitSeq(to, ",") {
		one, err := message.ParseAddress(text)
		if err != nil {
			return e, usagef("%w", err)
		}
		e.To = append(e.To, one)
	}
	e.Time = time.Now().UTC()
	if f.deadline != 0 {
		e.Deadline = e.Time.Add(f.deadline)
	}
	if e.Data, err = a.letterData(data); err != nil {
		return e, err
	}
	return e.Or(), e.Check()
}

func (a *app) letterData(data string) (json.RawMessage, error) {
	if data == "" {
		return json.RawMessage("null"), nil
	}
	text, err := a.inputText(data)
	if err != nil || json.Valid(text) {
		return text, err
	}
	if text := bytes.TrimSpace(text); len(text) > 0 && text[0] == '{' {
		return nil, usagef("DATA begins as JSON and is none: %w", json.Unmarshal(text, new(any)))
	}
	return json.Marshal(map[string]string{"question": strings.TrimSpace(string(text))})
}

const sendHelp = `Send a message, and return when it is durable for each recipient.

TO is an agent, or role:NAME, group:NAME, topic:NAME or all; several are joined by commas. ` + dataHelp + `

Each agent gets it as a run of its own: "polity messages show" tells what it answered. The same --key again is the same message.
While no process works on messages ("polity listen" does), it waits in the agent's mailbox.

With --live nothing is kept: the agent gets it now or not at all, once at most, in no order, and there is no history of it.`

func (a *app) newSend() *cobra.Command {
	var f letterFlags
	cmd := &cobra.Command{
		Use: "send TO [DATA]", Short: "Send a message to agents", Long: sendHelp, Args: args(cobra.RangeArgs(1, 2)),
		Example: "  polity send critic \"Is this ready?\"\n  polity send group:desk,critic '{\"question\": \"Is this ready?\"}' --priority urgent --ttl 10m\n" +
			"  polity send critic --from scout --type notification --conversation launch @note.json\n" +
			"  polity send critic '{\"temperature\": 21}' --live",
	}
	f.add(cmd, message.Task)
	cmd.Flags().BoolVar(&f.e.Reply, "reply", false, "say that an answer is wanted")
	f.addLive(cmd)
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.post(cmd.Context(), &f, args[0], strings.Join(args[1:], ""), output.value)
	}
	return cmd
}

const publishMessageHelp = `Publish a message on a topic, for everybody who reads it: it is an event there, as of "polity topics publish".

An agent may publish where a link of its organization leads to the topic. ` + dataHelp

func (a *app) newPublish() *cobra.Command {
	var f letterFlags
	cmd := &cobra.Command{
		Use: "publish TOPIC [DATA]", Short: "Publish a message on a topic", Long: publishMessageHelp, Args: args(cobra.RangeArgs(1, 2)),
		Example: "  polity publish news.world '{\"headline\": \"Rain\"}' --from scout\n  polity topics tail 'news.*'",
	}
	f.add(cmd, message.Notification)
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.post(cmd.Context(), &f, "topic:"+args[0], strings.Join(args[1:], ""), output.value)
	}
	return cmd
}

// post sends a message and tells its receipts.
func (a *app) post(ctx context.Context, f *letterFlags, to, data, output string) error {
	e, err := a.letter(f, to, data)
	if err != nil {
		return err
	}
	return a.with(ctx, func(ctx context.Context, n node) error {
		done, err := n.Messages(ctx, message.Do{Send: &e})
		if err != nil {
			return err
		}
		if _, alone := n.(*local); alone {
			a.sayKept(done.Receipts)
		}
		return a.receipts(e.ID, done.Receipts, output)
	})
}

// sayKept says what goes on with messages that nobody works on.
func (a *app) sayKept(receipts []message.Receipt) {
	for _, r := range receipts {
		if r.Run != "" && r.Fault == nil {
			a.screen.say("note: no process works on messages here; polity listen does")
			return
		}
	}
}

func (a *app) receipts(id string, receipts []message.Receipt, output string) error {
	if output == "json" {
		return a.writeJSON(map[string]any{"id": id, "receipts": receipts})
	}
	for _, r := range receipts {
		what := string(r.Run)
		if r.Fault != nil {
			what = clean(r.Fault.Text)
		}
		if err := a.outf("%s  %s  %s  %s\n", clean(id), r.To, r.Performative, what); err != nil {
			return err
		}
	}
	return nil
}

const askMessageHelp = `Send a message and wait for the answers.

Each recipient agrees or refuses before any work, and answers once: with what it gives, or with why it failed. --join first is content with
one good answer, --join quorum --k N with N; what is still under way then is cancelled. ` + dataHelp

func (a *app) newAsk() *cobra.Command {
	var f letterFlags
	var join message.Join
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "ask TO [DATA]", Short: "Send a message to agents and wait for their answers", Long: askMessageHelp, Args: args(cobra.RangeArgs(1, 2)),
		Example: "  polity ask critic \"Is this ready?\"\n  polity ask group:desk \"Is this ready?\" --join quorum --k 2 --timeout 5m -o json",
	}
	f.add(cmd, message.Query)
	f.addLive(cmd)
	cmd.Flags().StringVar(&join.Policy, "join", "all", "how many answers are enough: all, first or quorum")
	cmd.Flags().IntVar(&join.K, "k", 0, "with --join quorum: how many")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "wait so long, then leave with exit code 7; work goes on (default no limit)")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := join.Check(); err != nil {
			return usagef("--join: %w", err)
		}
		e, err := a.letter(&f, args[0], strings.Join(args[1:], ""))
		if err != nil {
			return err
		}
		ctx := cmd.Context()
		if timeout > 0 {
			var stop context.CancelFunc
			ctx, stop = context.WithTimeout(ctx, timeout)
			defer stop()
		}
		err = a.with(ctx, func(ctx context.Context, n node) error {
			if l, ok := n.(*local); ok {
				l.serve(a)
			}
			done, err := n.Messages(ctx, message.Do{Ask: &message.Asking{Envelope: e, Join: join}})
			if err != nil && len(done.Answers) == 0 {
				return err
			}
			return cmp.Or(err, a.answers(done.Answers, output.value))
		})
		if err != nil && cmd.Context().Err() == nil && ctx.Err() != nil {
			return fault.Timeout.New("no answer within %s; polity messages show tells when it is there", timeout)
		}
		return err
	}
	return cmd
}

// answers prints answers. None that informs is an end that is told by the exit code.
func (a *app) answers(answers []message.Envelope, output string) error {
	good := 0
	for _, e := range answers {
		if e.Performative == polity.Inform {
			good++
		}
	}
	if output == "json" {
		if err := a.writeJSON(answers); err != nil {
			return err
		}
	} else {
		for _, e := range answers {
			if err := a.outf("%s  %s  %s\n", e.From, e.Performative, clean(compact(e.Data))); err != nil {
				return err
			}
		}
	}
	if good == 0 {
		return ended{exitRunFailed, ""}
	}
	return nil
}

// compact is JSON without white space between its parts; what is none stays as it is.
func compact(data []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, data) != nil {
		return string(data)
	}
	return b.String()
}

const listenHelp = `Print messages as they are accepted, until Ctrl-C, and work on them.

If no other process serves the state folder this one does: it goes on with everything that waits in mailboxes, and with what is sent from other
terminals. AGENT and the flags choose what is printed.`

func (a *app) newListen() *cobra.Command {
	var f message.Filter
	var act string
	cmd := &cobra.Command{
		Use: "listen [AGENT]", Short: "Work on messages, and print them as they come", Long: listenHelp, Args: args(cobra.MaximumNArgs(1)),
		Example: "  polity listen\n  polity listen critic --from outside:ada -o json",
	}
	cmd.Flags().StringVar(&f.From, "from", "", "of this sender, as in agent:scout or outside:ada")
	cmd.Flags().StringVar(&f.Conversation, "conversation", "", "of this conversation")
	cmd.Flags().StringVar(&act, "performative", "", "that do this")
	var idle time.Duration
	cmd.Flags().DurationVar(&idle, "idle", 0, "end when nothing was under way or came for so long (default never)")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.To, f.Performative = strings.Join(args, ""), polity.Performative(act)
		if f.From != "" {
			from, err := message.ParseAddress(f.From)
			if err != nil {
				return usagef("--from: %w", err)
			}
			f.From = from.String()
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		err := a.with(ctx, func(ctx context.Context, n node) error { return a.listen(ctx, n, f, idle, output.value) })
		if err != nil && ctx.Err() != nil {
			return nil // as it was meant to end
		}
		return err
	}
	return cmd
}

func (a *app) listen(ctx context.Context, n node, f message.Filter, idle time.Duration, output string) error {
	first, err := n.Messages(ctx, message.Do{Tail: &message.Tail{Filter: f}})
	if err != nil {
		return err
	}
	if l, ok := n.(*local); ok {
		l.serve(a)
		if err := a.unpark(ctx, n); err != nil {
			return err
		}
	}
	quiet := time.Now()
	for q := (message.Tail{Filter: f, After: first.Next, Wait: tailWait}); ; {
		if idle > 0 {
			q.Wait = min(tailWait, max(idle/2, time.Millisecond))
		}
		done, err := n.Messages(ctx, message.Do{Tail: &q})
		if err != nil {
			return err
		}
		for i := range done.Entries {
			if err := a.tellMessage(&done.Entries[i], output); err != nil {
				return err
			}
		}
		if len(done.Entries) > 0 {
			quiet = time.Now()
		}
		q.After = done.Next
		if idle == 0 || time.Since(quiet) < idle {
			continue
		}
		boxes, err := n.Messages(ctx, message.Do{Mailboxes: true})
		if err != nil || len(boxes.Boxes) == 0 {
			return err
		}
	}
}

// unpark goes on with the messages that nobody works on.
func (a *app) unpark(ctx context.Context, n node) error {
	done, err := n.Messages(ctx, message.Do{List: &message.Filter{Waiting: true, Limit: message.ListMax}})
	for i := len(done.Entries) - 1; i >= 0 && err == nil; i-- { // the oldest first
		err = n.Resume(ctx, done.Entries[i].Run)
	}
	return err
}

// tellMessage prints a message on a line.
func (a *app) tellMessage(m *message.Entry, output string) error {
	if output == "json" {
		line, err := oneLine(m)
		if err != nil {
			return err
		}
		return a.out(line)
	}
	e := &m.Envelope
	return a.outf("%s  %s -> %s  %s  %s  %s  %s\n", moment(m.At), e.From, m.To, e.Performative, e.Priority, clean(e.ID), clean(clip(compact(e.Data), askShown)))
}

func (a *app) newMailbox() *cobra.Command {
	cmd := &cobra.Command{
		Use: "mailbox [AGENT]", Short: "Show what agents were sent and have not done", Args: args(cobra.MaximumNArgs(1)),
		Long: "Show what agents were sent and have not done: how many messages each works on and how many wait, or for one\n" +
			"agent which. A message that waits is taken when those of its conversation before it have ended, by priority.",
		Example: "  polity mailbox\n  polity mailbox critic -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			if len(args) == 1 {
				return a.listMessages(ctx, n, message.Filter{To: args[0], Waiting: true}, output.value)
			}
			done, err := n.Messages(ctx, message.Do{Mailboxes: true})
			if err != nil {
				return err
			}
			if output.value == "json" {
				return a.writeJSON(append([]message.Box{}, done.Boxes...))
			}
			for _, b := range done.Boxes {
				if err := a.outf("%s  %d at work  %d waiting\n", b.Agent, b.Busy, b.Waiting); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

func (a *app) newMessages() *cobra.Command {
	cmd := &cobra.Command{
		Use: "messages", Short: "List, search and show messages", Args: noSubcommand, RunE: help,
		Long:    "List, search and show messages between agents. Their history is that of the runs that deliver them.",
		Example: "  polity messages list --to critic\n  polity messages show k3j2",
	}
	cmd.AddCommand(a.newMessagesList(), a.newMessagesShow())
	return cmd
}

func (a *app) newMessagesList() *cobra.Command {
	var f message.Filter
	var act, since string
	cmd := &cobra.Command{
		Use: "list [WORD...]", Short: "List messages, the newest first", Args: args(cobra.ArbitraryArgs),
		Long:    "List messages, the newest first. With words only those that have all of them in what was said or answered.",
		Example: "  polity messages list\n  polity messages list --from agent:scout --conversation launch\n  polity messages list overdue invoice --since 24h -o json",
	}
	cmd.Flags().StringVar(&f.From, "from", "", "of this sender, as in agent:scout")
	cmd.Flags().StringVar(&f.To, "to", "", "to this agent")
	cmd.Flags().StringVar(&f.Conversation, "conversation", "", "of this conversation")
	cmd.Flags().StringVar(&act, "performative", "", "that do this")
	cmd.Flags().StringVar(&since, "since", "", "since a time, or for so long, as in 24h")
	cmd.Flags().IntVar(&f.Limit, "limit", 100, "at most so many; 0 for all")
	cmd.Flags().Uint64Var(&f.After, "after", 0, "list those after a page, as it was named at the end of that")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if f.Limit < 0 {
			return usagef("--limit is negative")
		}
		f.Performative, f.Text = polity.Performative(act), strings.Join(args, " ")
		var err error
		if f.Since, err = sinceTime(since, time.Now()); err != nil {
			return err
		}
		if f.From != "" {
			from, err := message.ParseAddress(f.From)
			if err != nil {
				return usagef("--from: %w", err)
			}
			f.From = from.String()
		}
		return a.with(cmd.Context(), func(ctx context.Context, n node) error { return a.listMessages(ctx, n, f, output.value) })
	}
	return cmd
}

func (a *app) listMessages(ctx context.Context, n node, f message.Filter, output string) error {
	list, next, err := pagesOfMessages(ctx, n, f)
	if err != nil {
		return err
	}
	if next > 0 {
		defer a.screen.say("note: there are more: polity messages list --after %d", next)
	}
	if output == "json" {
		return a.writeJSON(list)
	}
	rows := make([][]string, len(list))
	for i := range list {
		m := &list[i]
		state := m.Status.String()
		if m.Dead != "" {
			state += " (" + m.Dead + ")"
		}
		rows[i] = []string{
			string(m.Run), moment(m.At), m.Envelope.From.String(), string(m.To), string(m.Envelope.Performative), m.Envelope.Priority.String(), state, clean(m.Envelope.ID),
		}
	}
	return a.outf("%s", table(rows))
}

// pagesOfMessages asks for as many pages as the limit wants, 0 for all, and returns where the next one begins; 0 if there is none.
func pagesOfMessages(ctx context.Context, n node, f message.Filter) (list []message.Entry, next uint64, err error) {
	list = []message.Entry{} // and not null
	most := f.Limit
	for {
		f.Limit = message.ListMax
		if most > 0 {
			f.Limit = min(f.Limit, most-len(list))
		}
		done, err := n.Messages(ctx, message.Do{List: &f})
		if err != nil {
			return nil, 0, err
		}
		list = append(list, done.Entries...)
		if f.After = done.Next; f.After == 0 || most > 0 && len(list) >= most {
			return list, f.After, nil
		}
	}
}

func (a *app) newMessagesShow() *cobra.Command {
	return &cobra.Command{
		Use: "show RUN", Short: "Show a message, and what was answered, as JSON", Args: args(cobra.ExactArgs(1)),
		Example: "  polity messages show k3j2",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.showMessage(cmd.Context(), args[0]) },
	}
}

func (a *app) showMessage(ctx context.Context, text string) error {
	return a.with(ctx, func(ctx context.Context, n node) error {
		m, err := findMessage(ctx, n, text)
		if err != nil {
			return err
		}
		return a.writeJSON(m)
	})
}

// findMessage returns the message that is delivered by a run.
func findMessage(ctx context.Context, n node, text string) (*message.Entry, error) {
	_, id, err := find(ctx, n, text)
	if errors.Is(err, fault.NotFound) {
		err = fault.NotFound.New("%w; a message is named by the run that delivers it: see polity messages list", err)
	}
	if err != nil {
		return nil, err
	}
	done, err := n.Messages(ctx, message.Do{List: &message.Filter{Run: id}})
	if err == nil && len(done.Entries) == 0 {
		err = fault.NotFound.New("run %s delivers no message; see: polity messages list", id)
	}
	if err != nil {
		return nil, err
	}
	return &done.Entries[0], nil
}

// --- dead letters

const deadLettersHelp = `Dead letters are messages that were not done, and events that a group did not get done, with the reason.

A message is named by its run, an event by its number. "replay" gives one out again: a message is sent anew, with its TTL from now on; an event goes to its
group. "drop" takes it out of the list. What was sent and answered stays in the history.`

func (a *app) newDead() *cobra.Command {
	cmd := &cobra.Command{
		Use: "dead", Short: "Look at what was not done, and give it out again", Long: deadLettersHelp, Args: noSubcommand, RunE: help,
		Example: "  polity dead list\n  polity dead show k3j2\n  polity dead replay k3j2\n  polity dead drop 3",
	}
	cmd.AddCommand(a.newDeadLetters(), a.newDeadShow(), a.newDeadSettle(message.Replayed), a.newDeadSettle(message.Dropped))
	return cmd
}

// deadLetters is what dead list writes as JSON.
type deadLetters struct {
	Messages []message.Entry     `json:"messages"`
	Events   []polity.DeadLetter `json:"events"`
}

func (a *app) newDeadLetters() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List dead letters: messages, and events of groups, at most 1000 each", Args: args(cobra.NoArgs),
		Example: "  polity dead list\n  polity dead list -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			done, err := n.Messages(ctx, message.Do{List: &message.Filter{Dead: true, Limit: message.ListMax}})
			if err != nil {
				return err
			}
			answer, err := n.Topics(ctx, polity.TopicsRequest{Dead: &polity.TopicDead{Do: "list"}})
			if err != nil {
				return err
			}
			if output.value == "json" {
				return a.writeJSON(deadLetters{append([]message.Entry{}, done.Entries...), append([]polity.DeadLetter{}, answer.Letters...)})
			}
			return a.deadTable(done.Entries, answer.Letters)
		})
	}
	return cmd
}

func (a *app) deadTable(messages []message.Entry, events []polity.DeadLetter) error {
	var rows [][]string
	for i := range messages {
		m := &messages[i]
		why := m.Status.String()
		if m.Fault != nil {
			why = string(m.Fault.Kind) + ": " + clean(m.Fault.Text)
		}
		rows = append(rows, []string{string(m.Run), moment(m.At), m.Envelope.From.String() + " -> " + string(m.To), clean(m.Envelope.ID), why})
	}
	for _, l := range events {
		rows = append(rows, []string{strconv.FormatUint(l.Letter, 10), moment(l.At), clean(l.Topic) + " -> group " + clean(l.Group), clean(l.ID), count(l.Tries, "attempt") + ": " + clean(l.Reason)})
	}
	return a.outf("%s", table(rows))
}

func (a *app) newDeadShow() *cobra.Command {
	return &cobra.Command{
		Use: "show LETTER", Short: "Show a dead letter as JSON, with its data and why it was not done", Args: args(cobra.ExactArgs(1)),
		Example: "  polity dead show k3j2",
		RunE: func(cmd *cobra.Command, args []string) error {
			n, event := letterNumber(args[0])
			if !event {
				return a.showMessage(cmd.Context(), args[0])
			}
			return a.topicsDo(cmd.Context(), polity.TopicsRequest{Dead: &polity.TopicDead{Do: "list", Letter: n}}, func(answer polity.TopicsAnswer) error {
				return a.writeJSON(answer.Letters)
			})
		},
	}
}

// newDeadSettle is the command that replays or drops.
func (a *app) newDeadSettle(do string) *cobra.Command {
	verb, short := "replay", "Give a dead letter out again"
	if do == message.Dropped {
		verb, short = "drop", "Take a dead letter out of the list"
	}
	return &cobra.Command{
		Use: verb + " LETTER", Short: short, Args: args(cobra.ExactArgs(1)), Example: "  polity dead " + verb + " k3j2\n  polity dead " + verb + " 3",
		RunE: func(cmd *cobra.Command, args []string) error {
			if number, event := letterNumber(args[0]); event {
				return a.topicsDo(cmd.Context(), polity.TopicsRequest{Dead: &polity.TopicDead{Do: verb, Letter: number}}, func(polity.TopicsAnswer) error {
					return a.outf("%d %s\n", number, do)
				})
			}
			return a.with(cmd.Context(), func(ctx context.Context, n node) error {
				m, err := findMessage(ctx, n, args[0])
				if err != nil {
					return err
				}
				done, err := n.Messages(ctx, message.Do{Settle: &message.Settle{Run: m.Run, Do: do, By: os.Getenv("USER")}})
				if err != nil {
					return err
				}
				if _, alone := n.(*local); alone {
					a.sayKept(done.Receipts)
				}
				for _, r := range done.Receipts {
					return a.outf("%s %s as %s\n", m.Run, do, r.Run)
				}
				return a.outf("%s %s\n", m.Run, do)
			})
		},
	}
}

// letterNumber reads the number of an event that is a dead letter. A run's ID is none: it begins with a partition and a dash, or has letters.
func letterNumber(text string) (uint64, bool) {
	var n uint64
	for _, c := range []byte(text) {
		if c < '0' || c > '9' || n > 1<<50 {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, text != ""
}
