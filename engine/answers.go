package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/run"
	"polity.run/message"
)

const (
	answersMax  = 1000        // that are looked at at once
	answerAgain = time.Second // wait before an answer is sent again that was not taken
)

// answers gives agents that sent a message with a reply the answer, as a message in their own mailbox. That it is owed stands in the log, and that
// it was given in the opening of the run which it is: it is given once, whatever crashed.
type answers struct {
	wake chan struct{}
	stop context.CancelFunc
	end  sync.WaitGroup
}

func newAnswers() *answers { return &answers{wake: make(chan struct{}, 1)} }

// owes says that there is something to do.
func (a *answers) owes() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// begin has answers given until close; of what was found at the start only if all is wanted.
func (a *answers) begin(e *Engine, all bool, log *slog.Logger) {
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	if all {
		a.owes()
	}
	a.end.Go(func() {
		again := time.NewTimer(answerAgain)
		defer again.Stop()
		again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-a.wake:
			case <-again.C:
			}
			if !e.settleDebts(ctx, log) {
				again.Reset(answerAgain)
			}
		}
	})
}

func (a *answers) close() {
	if a.stop != nil {
		a.stop()
		a.end.Wait()
	}
}

// settleDebts answers who is to be answered, and says whether nothing is left.
func (e *Engine) settleDebts(ctx context.Context, log *slog.Logger) bool {
	list, err := e.part.Owed(ctx, answersMax)
	done := err == nil && len(list) < answersMax
	for _, id := range list {
		err := e.answerSender(ctx, id)
		switch {
		case err == nil:
		case fault.Of(err).Kind.Retryable() || ctx.Err() != nil:
			done = false
		default:
			log.Warn("the sender of a message cannot be answered", "run", id, "error", err)
			if err := e.part.Settle(ctx, id, run.Unanswered, ""); err != nil {
				done = false
			}
		}
	}
	return done
}

// answerSender sends the sender of a message how the run of it ended. No link has to lead there: it asked.
func (e *Engine) answerSender(ctx context.Context, id polity.RunID) error {
	d, err := e.part.Debt(ctx, id)
	if err != nil {
		return err
	}
	var m message.Envelope
	if err := m.UnmarshalJSON(d.Envelope); err != nil {
		return fault.Damaged.New("run %s: %w", id, err)
	}
	if n := len(d.Outcome.Output); n > message.DataMax {
		d.Outcome = polity.Outcome{Status: polity.StatusFailed, Fault: fault.Exceeded("output", "an answer of %d bytes; a message has %d at most", n, message.DataMax)}
	}
	a := message.Answer(&m, polity.AgentName(d.Agent), d.Outcome)
	a.Time, a.TTL = e.now().UTC(), message.TTLMax
	if err := e.orgs.ready(ctx); err != nil {
		return err
	}
	release, _, err := e.orgs.of(polity.AgentName(m.From.Name))
	e.orgs.mu.RUnlock()
	if err != nil {
		return err
	}
	r := e.deliver(ctx, &a, &target{to: m.From, release: release}, posting{by: id, answers: id})
	if r.Fault != nil {
		return r.Fault
	}
	return nil
}

// answerable says whether somebody has a mailbox here to which an answer can go. An agent in another process is told over its connection.
func (e *Engine) answerable(ctx context.Context, from message.Address) bool {
	if from.Kind != message.Agent || e.orgs.ready(ctx) != nil {
		return false
	}
	defer e.orgs.mu.RUnlock()
	_, r, err := e.orgs.of(polity.AgentName(from.Name))
	if err != nil {
		return false
	}
	def := r.doc.Agent(from.Name)
	return def != nil && def.Kind != agent.KindRemote
}
