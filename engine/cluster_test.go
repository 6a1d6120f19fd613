package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/bus/bustest"
	"polity.run/message"
)

var (
	clusterFor  = flag.Duration("cluster.for", 0, "how long TestCluster disturbs three servers; 0 leaves it out")
	clusterSeed = flag.Uint64("cluster.seed", 0, "seed of TestCluster; 0 is one of its own")
)

const (
	clusterServers = 3
	clusterAskers  = 16
	clusterTalks   = 8 // conversations
)

// cluster is three servers, with a wire between each two and one to each from the node.
type cluster struct {
	t       *testing.T
	rng     *rand.Rand
	servers []*bustest.Server
	node    []*bustest.Wire
	routes  map[[2]int]*bustest.Wire
	faults  map[string]int
}

func newCluster(t *testing.T, seed uint64) *cluster {
	c := &cluster{t: t, rng: rand.New(rand.NewPCG(seed, 1)), routes: map[[2]int]*bustest.Wire{}, faults: map[string]int{}}
	c.servers = bustest.Cluster(t, clusterServers, func(from, to int, addr string) string {
		w := bustest.NewWire(t, addr)
		c.routes[[2]int{from, to}] = w
		return w.Addr
	})
	for _, s := range c.servers {
		c.node = append(c.node, bustest.NewWire(t, s.Addr))
	}
	return c
}

// around are the wires between a server and the others.
func (c *cluster) around(i int) (wires []*bustest.Wire) {
	for pair, w := range c.routes {
		if pair[0] == i || pair[1] == i {
			wires = append(wires, w)
		}
	}
	return wires
}

func (c *cluster) urls(wires bool) string {
	var urls []string
	for i, s := range c.servers {
		at := s.Addr
		if wires {
			at = c.node[i].Addr
		}
		urls = append(urls, "nats://"+at)
	}
	return strings.Join(urls, ",")
}

// leader is the server that leads the log, or another one if nobody says.
func (c *cluster) leader() int {
	nc, err := nats.Connect(c.urls(false), nats.UserInfo(bustest.User, bustest.Password), nats.Timeout(time.Second))
	if err != nil {
		return c.rng.IntN(clusterServers)
	}
	defer nc.Close()
	m, err := nc.Request("$JS.API.STREAM.INFO.LOG_p0", nil, time.Second)
	var info struct{ Cluster struct{ Leader string } }
	if err == nil && json.Unmarshal(m.Data, &info) == nil {
		for i := range c.servers {
			if info.Cluster.Leader == fmt.Sprintf("n%d", i+1) {
				return i
			}
		}
	}
	return c.rng.IntN(clusterServers)
}

// whole wants every replica of every stream to have come back: one that cannot apply what another has is away until its server is started again.
func (c *cluster) whole() {
	nc := c.servers[0].Conn(bustest.User)
	var behind string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		m, err := nc.Request("$JS.API.STREAM.LIST", nil, 5*time.Second)
		var all struct {
			Streams []struct {
				Config  struct{ Name string }
				Cluster struct {
					Leader   string
					Replicas []struct {
						Name             string
						Current, Offline bool
					}
				}
			}
		}
		if err == nil {
			err = json.Unmarshal(m.Data, &all)
		}
		behind = fmt.Sprint(len(all.Streams), " streams, ", err)
		if err != nil || len(all.Streams) == 0 {
			continue
		}
		behind = ""
		for _, s := range all.Streams {
			for _, r := range s.Cluster.Replicas {
				if r.Offline || !r.Current {
					behind += fmt.Sprintf(" %s on %s", s.Config.Name, r.Name)
				}
			}
			if len(s.Cluster.Replicas) != clusterServers-1 {
				behind += fmt.Sprintf(" %s has %d replicas", s.Config.Name, len(s.Cluster.Replicas))
			}
		}
		if behind == "" {
			return
		}
	}
	c.t.Errorf("not all replicas came back:%s", behind)
}

// disturb does one thing to the cluster, waits, and undoes it.
func (c *cluster) disturb() {
	i := c.rng.IntN(clusterServers)
	if c.rng.IntN(2) == 0 {
		i = c.leader()
	}
	wait := func(least, most int) { time.Sleep(time.Duration(least+c.rng.IntN(most-least)) * time.Millisecond) }
	name := []string{"a server is killed", "a server is stopped", "a server is cut off from the others", "a server is cut off from all", "the node's wires are cut", "the node's wires are half open", "the routes are slow"}[c.rng.IntN(7)]
	c.faults[name]++
	switch name {
	case "a server is killed":
		c.servers[i].Kill()
		wait(500, 3000)
		c.servers[i].Start()
	case "a server is stopped":
		c.servers[i].Signal(syscall.SIGSTOP)
		wait(500, 6000)
		c.servers[i].Signal(syscall.SIGCONT)
	case "a server is cut off from the others", "a server is cut off from all":
		wires := c.around(i)
		if name == "a server is cut off from all" {
			wires = append(wires, c.node[i])
		}
		for _, w := range wires {
			w.Cut()
		}
		wait(2000, 8000)
		for _, w := range wires {
			w.Mend()
		}
	case "the node's wires are cut", "the node's wires are half open":
		for _, w := range c.node {
			if w.Cut(); name == "the node's wires are half open" {
				w.Hold()
			}
		}
		wait(100, 3000)
		for _, w := range c.node {
			w.Mend()
		}
	default:
		for _, w := range c.routes {
			w.Delay(20 * time.Millisecond)
		}
		wait(1000, 2000)
		for _, w := range c.routes {
			w.Mend()
		}
	}
	wait(500, 2500)
}

// ledger is what was done outside of the node.
type ledger struct {
	mu      sync.Mutex
	doubled map[int]int
	told    map[string][]int // by conversation
}

// TestCluster has a node on three servers that are killed, stopped and cut off from each other and from it. Nothing that was acknowledged is lost, nothing is done
// twice, and messages of a conversation are done in order.
func TestCluster(t *testing.T) {
	if *clusterFor == 0 {
		t.Skip("needs -cluster.for, a time such as 20s: .ci/run gives it one")
	}
	seed := *clusterSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d: -cluster.seed %d", seed, seed)
	c := newCluster(t, seed)
	did := &ledger{doubled: map[int]int{}, told: map[string][]int{}}
	doubler := function(t, "1", func(ctx context.Context, q question) (answer, error) {
		did.mu.Lock()
		defer did.mu.Unlock()
		did.doubled[q.N]++
		return double(ctx, q)
	})
	hearer := &agent.Agent{Name: "hearer", Version: "1", Skills: []polity.Skill{{Name: "do"}}, Effect: polity.EffectIdempotent, Handle: func(_ context.Context, m polity.Message) (json.RawMessage, error) {
		var said struct {
			Talk string
			N    int
		}
		if err := json.Unmarshal(m.Body, &said); err != nil {
			return nil, err
		}
		did.mu.Lock()
		defer did.mu.Unlock()
		did.told[said.Talk] = append(did.told[said.Talk], said.N)
		return json.RawMessage(`true`), nil
	}}
	state := t.TempDir()
	open := func() (*engine.Engine, error) {
		return engine.Open(t.Context(), engine.Config{
			State: state, Sync: engine.SyncOS, Agents: []*agent.Agent{doubler, hearer}, Retain: true,
			NATS: &engine.NATS{URL: c.urls(true), User: bustest.User, Password: bustest.Password},
		})
	}
	var e *engine.Engine
	for end := time.Now().Add(time.Minute); ; {
		var err error
		if e, err = open(); err == nil {
			break
		}
		if time.Now().After(end) { // until the servers have elected somebody
			t.Fatal(err)
		}
	}
	r := agent.Release{Name: "room", Main: "hearer", Agents: []agent.Definition{hearer.Definition()}}
	d, err := e.Install(&r, nil)
	for end := time.Now().Add(time.Minute); err == nil; {
		if err = e.Enlist(t.Context(), d); err == nil || time.Now().After(end) {
			break
		}
		err = nil
	}
	if err != nil {
		t.Fatal(err)
	}

	var next atomic.Int64
	var acked sync.Map
	var working, fell sync.WaitGroup
	stopped, over := context.WithCancel(t.Context())
	for range clusterAskers {
		working.Go(func() {
			for stopped.Err() == nil {
				n := int(next.Add(1))
				out, err := ask(t.Context(), e, engine.Request{Agent: "doubler", Input: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))})
				if err != nil || string(out.Output) != fmt.Sprintf(`{"n":%d}`, 2*n) {
					t.Errorf("run %d: %+v %v", n, out, err)
					return
				}
				acked.Store(n, true)
			}
		})
	}
	said := make([]int, clusterTalks)
	for i := range clusterTalks {
		working.Go(func() {
			talk := fmt.Sprint("talk", i)
			for n := 1; stopped.Err() == nil; n++ {
				m := message.Envelope{
					ID: fmt.Sprint(talk, ".", n), From: message.Address{Kind: message.Outside, Name: "ada"}, To: []message.Address{message.To("hearer")}, Conversation: talk, Type: message.Task,
					Data: json.RawMessage(fmt.Sprintf(`{"Talk":%q,"N":%d}`, talk, n)),
				}
				for {
					_, err := e.Send(t.Context(), m)
					if err == nil {
						break
					}
					if !errors.Is(err, fault.Unavailable) && !errors.Is(err, fault.Full) || e.Err() != nil {
						t.Errorf("%s: %v", m.ID, err)
						return
					}
				}
				said[i] = n
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	fell.Go(func() {
		defer over()
		for end := time.Now().Add(*clusterFor); time.Now().Before(end) && e.Err() == nil; {
			c.disturb()
		}
	})
	fell.Wait()
	working.Wait()
	if err := e.Err(); err != nil {
		t.Fatalf("the node went down: %v", err)
	}
	// Whatever was sent is done before long.
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		did.mu.Lock()
		behind := ""
		for i := range clusterTalks {
			if talk := fmt.Sprint("talk", i); len(did.told[talk]) < said[i] {
				behind = fmt.Sprintf("%s: %d of %d messages were done", talk, len(did.told[talk]), said[i])
			}
		}
		did.mu.Unlock()
		if behind == "" {
			break
		}
		if time.Now().After(end) {
			t.Fatal(behind)
		}
	}
	c.whole()
	stop(t, e)
	runs, messages := c.verify(t, did, &acked, said)

	if e, err = open(); err != nil { // which folds the chain
		t.Fatal(err)
	}
	defer stop(t, e)
	list, err := e.List(t.Context())
	if err != nil || len(list) != runs+messages {
		t.Errorf("%d runs in the log, %d runs and %d messages were acknowledged: %v", len(list), runs, messages, err)
	}
	for _, s := range list {
		if s.Status != polity.StatusCompleted {
			t.Errorf("%s is %s", s.ID, s.Status)
		}
	}
	t.Logf("%d runs and %d messages were acknowledged, each done once and in order; %v", runs, messages, c.faults)
}

// verify compares what was acknowledged with what was done.
func (c *cluster) verify(t *testing.T, did *ledger, acked *sync.Map, said []int) (runs, messages int) {
	did.mu.Lock()
	defer did.mu.Unlock()
	acked.Range(func(n, _ any) bool {
		runs++
		if times := did.doubled[n.(int)]; times != 1 {
			t.Errorf("run %d was done %d times", n, times)
		}
		return true
	})
	if runs != len(did.doubled) {
		t.Errorf("%d runs were acknowledged, and %d done", runs, len(did.doubled))
	}
	for i, last := range said {
		messages += last
		talk := fmt.Sprint("talk", i)
		if len(did.told[talk]) != last {
			t.Errorf("%s: %d messages were done, of %d", talk, len(did.told[talk]), last)
		}
		for k, n := range did.told[talk] {
			if n != k+1 {
				t.Errorf("%s: message %d was done as number %d", talk, n, k+1)
				break
			}
		}
	}
	return runs, messages
}
