package work_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/work"
	"polity.run/model"
	"polity.run/tool"
)

func only(want string) work.Check {
	return func(data json.RawMessage) error {
		if string(data) != want {
			return fault.Invalid.New("got %s, want %s", data, want)
		}
		return nil
	}
}

func TestAsk(t *testing.T) {
	tests := map[string]struct {
		handle work.Handle
		input  string
		kind   fault.Kind
		text   string
	}{
		"answers":        {func(_ context.Context, m polity.Message) (json.RawMessage, error) { return m.Body, nil }, `1`, "", ""},
		"input refused":  {func(context.Context, polity.Message) (json.RawMessage, error) { panic("was asked") }, `2`, fault.Invalid, "input of a"},
		"output refused": {func(context.Context, polity.Message) (json.RawMessage, error) { return json.RawMessage(`3`), nil }, `1`, fault.Invalid, "output of a"},
		"fails":          {func(context.Context, polity.Message) (json.RawMessage, error) { return nil, fault.Denied.New("no") }, `1`, fault.Denied, "no"},
		"panics":         {func(context.Context, polity.Message) (json.RawMessage, error) { panic("oops") }, `1`, fault.Internal, "oops"},
		"says far too much": {func(context.Context, polity.Message) (json.RawMessage, error) {
			return make(json.RawMessage, tool.OutputMaxDefault+1), nil
		}, `1`, fault.Exhausted, "the most is"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := &polity.Message{To: "a", Body: json.RawMessage(test.input)}
			out, err := work.Ask(t.Context(), test.handle, m, only(`1`), only(`1`))
			checkFault(t, err, test.kind, test.text)
			if err == nil && string(out) != `1` {
				t.Errorf("answered %s", out)
			}
			done := make(chan error, 2)
			work.Begin(t.Context(), func(ctx context.Context, m polity.Message, done func(json.RawMessage, error)) {
				done(test.handle(ctx, m))
			}, m, only(`1`), only(`1`), func(_ json.RawMessage, err error) { done <- err })
			checkFault(t, <-done, test.kind, test.text)
		})
	}
}

func checkFault(t *testing.T, err error, kind fault.Kind, text string) {
	t.Helper()
	switch {
	case kind == "" && err != nil:
		t.Errorf("got %v", err)
	case kind != "" && (!errors.Is(err, kind) || !strings.Contains(err.Error(), text)):
		t.Errorf("got %v, want %s with %q", err, kind, text)
	}
}

// paid is a model that answers what it is told to, and says what that cost.
type paid struct{ output string }

func (paid) Name() string { return "paid" }

func (p paid) Answer(_ context.Context, r model.Request) (model.Response, error) {
	return model.Response{Output: json.RawMessage(p.output), Usage: polity.Usage{InputTokens: int64(len(r.Messages)), OutputTokens: 7}}, nil
}

func TestThinkTellsWhatARefusedAnswerCost(t *testing.T) {
	check := func(json.RawMessage) (work.Check, error) { return only(`"yes"`), nil }
	request := json.RawMessage(`{"messages":[{"role":"user","text":"?"}],"schema":{}}`)
	out, usage, err := work.Think(t.Context(), paid{`"yes"`}, "k", request, nil, check)
	if err != nil || usage.OutputTokens != 7 || !strings.Contains(string(out), `"yes"`) {
		t.Errorf("%s %+v %v", out, usage, err)
	}
	if out, usage, err = work.Think(t.Context(), paid{`"no"`}, "k", request, nil, check); err != nil || usage.OutputTokens != 7 || !strings.Contains(string(out), "problem") {
		t.Errorf("a refused answer: %+v %v", usage, err)
	}
	if _, _, err = work.Think(t.Context(), paid{`"yes"`}, "k", json.RawMessage(`[]`), nil, check); !errors.Is(err, fault.Invalid) {
		t.Errorf("a request that is none: %v", err)
	}
}

func TestProgramKeepsTheEndOfItsComplaints(t *testing.T) {
	spec := &agent.Exec{Command: []string{"sh", "-c", "seq 1 5000 >&2; echo 'the reason' >&2; exit 3"}, OutputMax: 100}
	_, err := work.Program(t.Context(), spec, t.TempDir(), "key", "", nil)
	if !errors.Is(err, fault.Failed) || !strings.HasSuffix(err.Error(), "the reason") || len(err.Error()) > 5000 {
		t.Errorf("got %d bytes ending in %.40q", len(err.Error()), err.Error()[max(0, len(err.Error())-40):])
	}
}

func TestProgramThatIsNotThere(t *testing.T) {
	spec := &agent.Exec{Command: []string{"no-such-program-anywhere"}, OutputMax: 100}
	if _, err := work.Program(t.Context(), spec, t.TempDir(), "key", "", nil); !errors.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}

// TestCancelledProgramLeavesNothing cancels a program with a child of its own: both end, though the child holds the pipes.
func TestCancelledProgramLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	mark := filepath.Join(dir, "mark")
	ctx, cancel := context.WithCancelCause(t.Context())
	spec := &agent.Exec{Command: []string{"sh", "-c", "(sleep 0.5; touch '" + mark + "') & touch started; sleep 100"}, OutputMax: 100}
	go func() {
		for {
			if _, err := os.Stat(filepath.Join(dir, "started")); err == nil {
				cancel(fault.Timeout.New("too slow"))
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if _, err := work.Program(ctx, spec, dir, "key", "", nil); !errors.Is(err, fault.Timeout) {
		t.Errorf("got %v", err)
	}
	time.Sleep(700 * time.Millisecond)
	if _, err := os.Stat(mark); err == nil {
		t.Error("the program's child went on")
	}
}

func TestCopyRefusesWhatCannotBeLoaded(t *testing.T) {
	root := filepath.Join(t.TempDir(), "exec")
	spec := &agent.Exec{Files: map[string]agent.File{"a": {Digest: "x"}}}
	for want, cause := range map[fault.Kind]error{
		fault.Damaged:     fault.Damaged.New("broken"),
		fault.Full:        &os.PathError{Op: "write", Path: "a", Err: syscall.ENOSPC}, // it may pass: the step is tried again
		fault.Unavailable: &os.PathError{Op: "open", Path: "a", Err: syscall.EMFILE},
	} {
		_, _, err := work.Copy(root, spec, func(string) ([]byte, error) { return nil, cause })
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if left, err := os.ReadDir(root); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
