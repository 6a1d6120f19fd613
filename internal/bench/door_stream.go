package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"polity.run"
	"polity.run/engine"
	"polity.run/fault"
)

// SubscribersMax is the most subscribers that can be asked for; each has two ends of two connections in this process.
const SubscribersMax = 4000

const (
	framesWait = 30 * time.Second // for what was sent to have reached everybody
	frameMax   = 64 << 10         // bytes of a line
)

// streams measures server-sent events to many subscribers. An event is a commit: of one run, which is two frames, or of a run that asks many agents, which is many
// frames at once. It is there when every subscriber has all of its frames. The hub is given the same frames, and is measured from there on; the node from
// when the commit was acknowledged.
func streams(ctx context.Context, cfg Config, sync engine.Sync, subscribers int) (points []BusPoint, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	dir, remove, err := cfg.folder()
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, remove()) }()
	s, err := openServed(ctx, filepath.Join(dir, "polity"), sync)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	h := &hub{ran: make(chan error, 1)}
	if h.server, h.url, err = serve(h, h.ran); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.server.Close(), <-h.ran) }()
	cfg.Progress(fmt.Sprintf("events to %d subscribers, sync %s", subscribers, sync))
	kinds := []polity.AgentName{"judge", "fan"}
	frames := make([][][]byte, len(kinds))
	for i, who := range kinds {
		if frames[i], err = s.frames(ctx, who); err != nil {
			return nil, err
		}
	}
	var ours, plain crowd
	if err := errors.Join(ours.join(ctx, s.url+"/v1/events", s.token, subscribers), plain.join(ctx, h.url, "", subscribers)); err != nil {
		return nil, err
	}
	defer func() { stop(); ours.gone.Wait(); plain.gone.Wait() }()
	for i, who := range kinds {
		n := len(frames[i])
		pair := []cast{
			{fmt.Sprintf("a plain hub, %d at once", n), &plain, func(context.Context) (time.Time, error) {
				began := time.Now()
				h.send(frames[i])
				return began, nil
			}},
			{fmt.Sprintf("/v1/events, %d at once", n), &ours, func(ctx context.Context) (time.Time, error) {
				o, err := s.engine.Run(ctx, engine.Request{Agent: string(who), Input: []byte(`{"n":1}`), Seed: fmt.Sprint(block(1))})
				if err == nil && o.Status != polity.StatusCompleted {
					err = errUnexpected
				}
				return time.Now(), err
			}},
		}
		p, err := casts(ctx, cfg, pair, n)
		if err != nil {
			return nil, err
		}
		points = append(points, p...)
	}
	return points, nil
}

// cast is something that sends frames to a crowd.
type cast struct {
	name  string
	crowd *crowd
	send  func(context.Context) (began time.Time, err error)
}

// casts measures them in turns.
func casts(ctx context.Context, cfg Config, all []cast, frames int) ([]BusPoint, error) {
	rounds := make([][]turn, len(all))
	for range cfg.Rounds {
		for i, c := range all {
			t, err := c.turn(ctx, cfg.Window, frames)
			if err != nil {
				return nil, err
			}
			rounds[i] = append(rounds[i], t)
		}
	}
	points := make([]BusPoint, len(all))
	for i, c := range all {
		points[i] = besides(rounds[i], rounds[0])
		points[i].System, points[i].At = c.name, c.crowd.members
	}
	return points, nil
}

// turn sends for a while, one event when the one before has reached everybody. Its rate is that of frames while one is under way.
func (c cast) turn(ctx context.Context, window time.Duration, frames int) (turn, error) {
	var took []float64
	var sum float64
	for begin := time.Now(); len(took) == 0 || time.Since(begin) < window; {
		all := c.crowd.await(int64(frames * c.crowd.members))
		began, err := c.send(ctx)
		if err != nil {
			return turn{}, err
		}
		select {
		case at := <-all:
			us := float64(max(at.Sub(began), 1).Nanoseconds()) / 1e3
			took, sum = append(took, us), sum+us
		case err := <-c.crowd.failed:
			return turn{}, err
		case <-ctx.Done():
			return turn{}, context.Cause(ctx)
		case <-time.After(framesWait):
			return turn{}, fault.Timeout.New("bench: %s: %d of %d frames are missing", c.name, c.crowd.left.Load(), frames*c.crowd.members)
		}
	}
	slices.Sort(took)
	at := func(q float64) float64 { return took[int(q*float64(len(took)-1))] }
	return turn{rate: float64(frames*c.crowd.members*len(took)) / sum * 1e6, p50: at(.5), p99: at(.99)}, nil
}

// crowd are the subscribers of a stream of events.
type crowd struct {
	members int
	left    atomic.Int64 // frames that are missing
	all     chan time.Time
	failed  chan error
	gone    sync.WaitGroup
}

// await says that so many frames come, and returns what tells when the last one has.
func (c *crowd) await(frames int64) <-chan time.Time {
	c.left.Store(frames)
	return c.all
}

// join subscribes, so often, until ctx ends. When it returns, everybody has begun to read.
func (c *crowd) join(ctx context.Context, url, token string, members int) error {
	c.members, c.all, c.failed = members, make(chan time.Time, 1), make(chan error, members)
	for range members {
		lines, err := subscribe(ctx, url, token)
		if err != nil {
			return err
		}
		c.gone.Go(func() {
			if err := c.read(lines); ctx.Err() == nil {
				c.failed <- fault.Unavailable.New("bench: a stream of events has ended: %w", errors.Join(err, lines.close()))
				return
			}
			_ = lines.close() // it was ended from here
		})
	}
	return nil
}

func (c *crowd) read(lines *lines) error {
	for lines.Scan() {
		if bytes.HasPrefix(lines.Bytes(), dataField) && c.left.Add(-1) == 0 {
			c.all <- time.Now()
		}
	}
	return lines.Err()
}

var dataField = []byte("data: ")

// lines are those of a stream.
type lines struct {
	*bufio.Scanner
	close func() error
}

// subscribe begins a stream of events, and returns when the first line of it has come.
func subscribe(ctx context.Context, url, token string) (*lines, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fault.Internal.New("bench: %w", err)
	}
	q.Header.Set("Authorization", "Bearer "+token)
	q.Header.Set("Accept", "text/event-stream")
	c := loopback()
	r, err := c.Do(q)
	if err != nil {
		return nil, fault.Unavailable.New("bench: %w", err)
	}
	l := &lines{bufio.NewScanner(r.Body), r.Body.Close}
	l.Buffer(nil, frameMax)
	if r.StatusCode != http.StatusOK || !l.Scan() {
		return nil, errors.Join(fault.Failed.New("bench: %s: answered %s", url, r.Status), l.Err(), l.close())
	}
	return l, nil
}

// frames has an agent asked and returns the frames of its run.
func (s *served) frames(ctx context.Context, who polity.AgentName) (frames [][]byte, err error) {
	ctx, stop := context.WithTimeout(ctx, framesWait)
	defer stop()
	l, err := subscribe(ctx, s.url+"/v1/events", s.token)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	id, err := s.engine.Start(ctx, engine.Request{Agent: string(who), Input: []byte(`{"n":1}`), Seed: fmt.Sprint(block(1))})
	if err != nil {
		return nil, err
	}
	end := fmt.Appendf(nil, `"kind":"finished","run":%q`, id)
	var one []byte
	for l.Scan() {
		one = append(append(one, l.Bytes()...), '\n')
		if len(l.Bytes()) > 0 {
			continue
		}
		if bytes.Contains(one, dataField) {
			frames = append(frames, slices.Clone(one))
			if bytes.Contains(one, end) {
				return frames, nil
			}
		}
		one = one[:0]
	}
	return nil, fault.Timeout.New("bench: the end of run %s did not come: %w", id, errors.Join(l.Err(), ctx.Err()))
}

// hub is the least that fans out server-sent events: a channel and a goroutine for each subscriber.
type hub struct {
	server *http.Server
	url    string
	ran    chan error
	mu     sync.Mutex
	to     []chan [][]byte
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	news := make(chan [][]byte, 16)
	h.mu.Lock()
	h.to = append(h.to, news)
	h.mu.Unlock()
	_, err := w.Write([]byte(": alive\n\n"))
	for err == nil {
		if err = rc.Flush(); err != nil {
			return
		}
		select {
		case frames := <-news:
			for _, f := range frames {
				if _, err = w.Write(f); err != nil {
					return
				}
			}
		case <-r.Context().Done():
			return
		}
	}
}

// send sends frames to everybody.
func (h *hub) send(frames [][]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, to := range h.to {
		to <- frames
	}
}
