package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"polity.run"
	"polity.run/fault"
)

const (
	questionEvery = 300 * time.Millisecond // how often is looked for questions
	answerMax     = 1 << 20                // bytes of an answer
	askShown      = 2000                   // bytes of a question that are shown
)

const questionsHelp = `List what people are asked by running runs, the oldest first.

A question waits as long as its agent's timeout and its run's bounds allow, also over restarts:
while no process serves the run, it is not listed, and is asked again when the run goes on.`

func (a *app) newRunsQuestions() *cobra.Command {
	var output *choice
	cmd := &cobra.Command{
		Use: "questions", Short: "List what people are asked", Long: questionsHelp,
		Example: "  polity runs questions\n  polity runs questions -o json", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, n node) error {
				open, err := n.Questions(ctx)
				if err != nil {
					return err
				}
				if output.value == "json" {
					return a.writeJSON(map[string]any{"questions": open})
				}
				if len(open) == 0 {
					return a.nobodyAsks(ctx, n, "nobody is asked anything")
				}
				for _, q := range open {
					if err := a.outf("%s\n%s\n\n", clean(q.Key), questionText(q)); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	output = outputFlag(cmd, "text", "text", "json")
	return cmd
}

// nobodyAsks says that there is no question, and which runs would ask somebody if a process went on with them.
func (a *app) nobodyAsks(ctx context.Context, n node, text string) error {
	all, err := n.List(ctx)
	if err != nil {
		return err
	}
	asks := func(w polity.Waiting) bool { return strings.HasPrefix(w.For, polity.ForPerson) }
	var left []polity.RunID
	for _, r := range all {
		if r.Parked && slices.ContainsFunc(r.Waiting, asks) {
			left = append(left, r.ID)
		}
	}
	if len(left) > 0 {
		text = fmt.Sprintf("%s; %s that would ask a person: nobody goes on with them, as polity runs resume %s does", text, count(len(left), "run"), clean(string(left[0])))
	}
	a.screen.say("%s", text)
	return nil
}

const answerHelp = `Answer what a person is asked.

KEY is as "polity runs questions" lists it, or its run's ID if that asks only one thing. The answer is JSON of
the skill's output schema, or a text where that is accepted; more words are joined, and @FILE or @- reads
it from a file or from stdin.`

func (a *app) newRunsAnswer() *cobra.Command {
	return &cobra.Command{
		Use: "answer KEY ANSWER...", Short: "Answer what a person is asked", Long: answerHelp,
		Example: "  polity runs answer '0-k3j2…#ask.boss' '{\"approved\": true}'\n  polity runs answer k3j2 yes, go on",
		Args:    args(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := a.inputText(strings.Join(args[1:], " "))
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(ctx context.Context, n node) error {
				open, err := n.Questions(ctx)
				if err != nil {
					return err
				}
				key, err := meant(open, args[0])
				if err != nil {
					return err
				}
				if err := reply(ctx, n, key, text); err != nil {
					return err
				}
				a.screen.say("answered %s", clean(key))
				return nil
			})
		},
	}
}

// meant returns the key of the question that a text means.
func meant(open []polity.Question, text string) (string, error) {
	var found []string
	for _, q := range open {
		if q.Key == text {
			return q.Key, nil
		}
		if begins(q.Run.Root(), polity.RunID(text).Root()) || strings.HasPrefix(q.Key, text) {
			found = append(found, q.Key)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fault.NotFound.New("nobody asks %q; see: polity runs questions", text)
	default:
		return "", fault.Invalid.New("%q means %d questions, as %s and %s; write the whole key", text, len(found), found[0], found[1])
	}
}

// reply answers a question with text: as JSON if it is that and accepted, else as a JSON string.
func reply(ctx context.Context, n node, key string, text []byte) error {
	text = bytes.TrimSpace(text)
	if len(text) > answerMax {
		return fault.Invalid.New("the answer is longer than %d bytes", answerMax)
	}
	var first error
	if json.Valid(text) {
		if first = n.Answer(ctx, key, json.RawMessage(text)); first == nil || !errors.Is(first, fault.Invalid) {
			return first
		}
	}
	quoted, err := json.Marshal(string(text))
	if err != nil {
		return fault.Invalid.New("answer: %w", err)
	}
	err = n.Answer(ctx, key, quoted)
	if err != nil && first != nil {
		return first
	}
	return err
}

// questionText words a question for a person. What the agents wrote is shown as they wrote it, and not more.
func questionText(q polity.Question) string {
	if q.Approval != nil {
		return clean(string(q.From)) + " asks " + clean(string(q.Agent)) + " for approval:\n" + approvalText(q)
	}
	var b strings.Builder
	b.WriteString(clean(string(q.From)) + " asks " + clean(string(q.Agent)))
	if q.Ask != "" {
		b.WriteString(": " + clean(q.Ask))
	}
	var input bytes.Buffer
	if len(q.Input) > 0 && json.Indent(&input, q.Input, "  ", "  ") == nil {
		b.WriteString("\n  " + cleanLines(shorten(input.String(), askShown)))
	}
	if len(q.Output) > 0 {
		b.WriteString("\n  the answer's schema: " + clean(shorten(string(q.Output), askShown)))
	}
	return b.String()
}

func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}

// people puts a run's questions to whoever sits at the terminal, until ctx ends. Without a terminal it says how they are answered.
func (c *running) people(ctx context.Context, n node) {
	var lines chan string
	if f, ok := c.stdin.(*os.File); ok && c.screen.moves && term.IsTerminal(int(f.Fd())) {
		lines = make(chan string)
		go readLines(ctx, f, lines) // a read from a terminal ends with the process
	}
	told := map[string]bool{}
	tick := time.NewTicker(questionEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		open, err := n.Questions(ctx, c.id)
		if err != nil {
			continue // whoever follows the run says so
		}
		for _, q := range open {
			if told[q.Key] {
				continue
			}
			told[q.Key] = true
			c.screen.say("question: %s", questionText(q))
			if lines == nil {
				c.screen.say("note: to answer: %s", howToAnswer(q))
				continue
			}
			if q.Approval != nil {
				c.screen.say("yes, always (the same again in this run) or no, and why; or leave it empty to decide later:")
			} else {
				c.screen.say("answer, or leave it empty to answer later with polity runs answer:")
			}
			c.prompt(ctx, n, q, lines)
		}
	}
}

func (c *running) prompt(ctx context.Context, n node, q polity.Question, lines <-chan string) {
	for {
		select {
		case <-ctx.Done():
			return
		case text, more := <-lines:
			if !more || strings.TrimSpace(text) == "" {
				c.screen.say("note: to answer: %s", howToAnswer(q))
				return
			}
			err := typed(ctx, n, q, text)
			if err == nil || !errors.Is(err, fault.Invalid) {
				if err != nil {
					c.screen.say("note: %s", clean(err.Error()))
				}
				return
			}
			c.screen.say("that is not accepted: %s", cleanLines(err.Error()))
		}
	}
}

// howToAnswer is the command that answers a question.
func howToAnswer(q polity.Question) string {
	if q.Approval != nil {
		return fmt.Sprintf("polity approvals approve %.*s, or deny %.*s --reason WHY", hashShown, q.Approval.Hash, hashShown, q.Approval.Hash)
	}
	return "polity runs answer '" + clean(q.Key) + "' ANSWER"
}

// typed answers a question with what a person typed.
func typed(ctx context.Context, n node, q polity.Question, text string) error {
	if q.Approval == nil {
		return reply(ctx, n, q.Key, []byte(text))
	}
	d, ok := decision(text, q.Approval.Hash)
	if !ok {
		return fault.Invalid.New("want yes, always or no, and why")
	}
	return decide(ctx, n, q, d)
}

func readLines(ctx context.Context, from io.Reader, to chan<- string) {
	defer close(to)
	in := bufio.NewScanner(from)
	in.Buffer(nil, answerMax)
	for in.Scan() {
		select {
		case to <- in.Text():
		case <-ctx.Done():
			return
		}
	}
}
