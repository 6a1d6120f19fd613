package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"polity.run/fault"
)

// What a node needs of a server.
const (
	versionLeast = "2.11" // batches of direct reads, times to live of single messages
	levelLeast   = 1      // of JetStream's API: that of versionLeast
	systemWait   = time.Second
)

// A Point is one thing that a node needs of a server.
type Point struct {
	What string `json:"what"`
	// State is ok, missing (a node does not start), warning (it does, and does not promise what it does elsewhere), made, changed, or wanted (it would be
	// made or changed).
	State string `json:"state"`
	Text  string `json:"text"`
}

// The states of a Point.
const (
	PointOK      = "ok"
	PointMissing = "missing"
	PointWarning = "warning"
	PointMade    = "made"
	PointChanged = "changed"
	PointWanted  = "wanted"
)

// streamsOf are the streams of a node with some buckets.
func streamsOf(buckets []string) []jetstream.StreamConfig {
	all := []jetstream.StreamConfig{logConfig("p0"), topicsConfig(), deadConfig(), refusedConfig(), accessConfig()}
	for _, name := range buckets {
		all = append(all, bucketConfig(name))
	}
	return all
}

// Rights are the subjects that the node's own user has to be allowed, in a JetStream domain or in the server's own. Nobody else may have any of
// them.
func Rights(domain string) (publish, subscribe []string) {
	return []string{
		"log.>", "bucket.>", "journal.>", topicPrefix + ">", redoPrefix + ">", deadPrefix + ">",
		requestsOf(domain) + ">", "$JS.ACK.>", "$JS.SNAPSHOT.>", "$SYS.REQ.USER.INFO",
	}, []string{"_INBOX.>"}
}

// Setup makes the streams of a node on a server, and sets those right that are there and differ. Done twice it does nothing. With dry it changes nothing and
// says what it would do. It returns what it did; with the first that cannot be done an error.
func Setup(ctx context.Context, s Server, buckets []string, dry bool) ([]Point, error) {
	b, err := Open(ctx, Config{Server: &s})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	var done []Point
	for _, want := range streamsOf(buckets) {
		p, err := b.setUp(ctx, want, dry)
		if err != nil {
			return done, fault.Unavailable.New("set up stream %s: %w", want.Name, err)
		}
		done = append(done, p)
	}
	return done, nil
}

func (b *Bus) setUp(ctx context.Context, want jetstream.StreamConfig, dry bool) (Point, error) {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	p := Point{What: "stream " + want.Name, State: PointWanted}
	stream, err := b.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		p.Text = fmt.Sprintf("on %d of the servers: %s", b.replicas(), strings.Join(want.Subjects, ", "))
		if dry {
			return p, nil
		}
		p.State = PointMade
		_, err = b.create(ctx, want)
		return p, err
	}
	if err != nil {
		return p, err
	}
	has := stream.CachedInfo().Config
	wrong := differs(has, want)
	want.Replicas, want.MaxBytes, want.MaxMsgs, want.Placement = has.Replicas, has.MaxBytes, has.MaxMsgs, has.Placement
	if want.MaxAge > 0 { // what has none may not lose anything
		want.MaxAge = has.MaxAge
	}
	if n := b.cfg.Server.Replicas; n > 0 && n != has.Replicas {
		want.Replicas = n
		wrong = append(wrong, fmt.Sprintf("number of replicas: %d, not %d", n, has.Replicas))
	}
	if len(wrong) == 0 {
		return Point{What: p.What, State: PointOK, Text: fmt.Sprintf("on %d of the servers", max(has.Replicas, 1))}, nil
	}
	p.Text = "another " + strings.Join(wrong, ", ")
	if dry {
		return p, nil
	}
	p.State = PointChanged
	_, err = b.js.UpdateStream(ctx, want)
	return p, err
}

// Examine says what a node with some buckets has and has not on a server, without changing anything. system, if not nil, is the same server with the credentials of a
// user of its system account, who may know when a write is on the disk.
func Examine(ctx context.Context, s Server, buckets []string, system *Server) ([]Point, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	nc, err := s.dial(nats.NoReconnect(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // what is refused is not answered
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := s.jetstream(nc)
	if err != nil {
		return nil, err
	}
	x := &examiner{s: s, nc: nc, b: &Bus{cfg: Config{Server: &s}, nc: nc, js: js, requests: requestsOf(s.Domain)}}
	x.server()
	if err := x.rights(); err != nil {
		return nil, err
	}
	if x.jetstream(ctx) {
		x.streams(ctx, buckets)
	}
	if err := x.disk(system); err != nil {
		return nil, err
	}
	if err := x.others(system); err != nil {
		return nil, err
	}
	return x.points, x.links()
}

// examiner gathers points.
type examiner struct {
	s      Server
	nc     *nats.Conn
	b      *Bus
	points []Point
}

func (x *examiner) add(state, what, format string, args ...any) {
	x.points = append(x.points, Point{What: what, State: state, Text: fmt.Sprintf(format, args...)})
}

func (x *examiner) server() {
	cluster := "alone"
	if name := x.nc.ConnectedClusterName(); name != "" {
		cluster = "in the cluster " + name
	}
	x.add(PointOK, "server", "%s, version %s, %s", x.nc.ConnectedServerName(), x.nc.ConnectedServerVersion(), cluster)
	if most := x.nc.MaxPayload(); most < FrameMax+1024 {
		x.add(PointMissing, "max_payload", "%d bytes; a commit has up to %d: set max_payload to 1MB", most, FrameMax+1024)
	}
}

// rights compares what the user may do with what it has to.
func (x *examiner) rights() error {
	me, err := userInfo(x.nc)
	switch {
	case err != nil:
		return err
	case me == nil:
		x.add(PointWarning, "permissions", "the server does not say what its user may do")
		return nil
	}
	var lacks []string
	publish, subscribe := Rights(x.s.Domain)
	if p := me.Permissions; p != nil {
		lacks = append(p.Publish.lacks("publish", publish), p.Subscribe.lacks("subscribe", subscribe)...)
	}
	if len(lacks) > 0 {
		x.add(PointMissing, "permissions", "user %s of account %s may not %s", me.User, me.Account, strings.Join(lacks, ", "))
		return nil
	}
	x.add(PointOK, "permissions", "user %s of account %s may do what a node does", me.User, me.Account)
	return nil
}

// lacks names those of some subjects that are not allowed, each as a whole.
func (a *allowed) lacks(verb string, subjects []string) (names []string) {
	if a == nil {
		return nil
	}
	for _, subject := range subjects {
		ok := len(a.Allow) == 0
		for _, pattern := range a.Allow {
			ok = ok || server.SubjectMatchesFilter(subject, pattern)
		}
		for _, pattern := range a.Deny {
			ok = ok && !server.SubjectsCollide(subject, pattern)
		}
		if !ok {
			names = append(names, verb+" "+subject)
		}
	}
	return names
}

// jetstream looks at the account's limits, and says whether JetStream answers.
func (x *examiner) jetstream(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	info, err := x.b.js.AccountInfo(ctx)
	if refused, ok := errors.AsType[*jetstream.APIError](err); ok && refused.Code == 503 && !errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
		x.add(PointMissing, "JetStream", "%s: are most of the cluster's servers there?", refused.Description)
		return false
	}
	if err != nil {
		x.add(PointMissing, "JetStream", "%s: enable it for the account, with storage", err)
		return false
	}
	if info.API.Level < levelLeast {
		x.add(PointMissing, "version", "the server has version %s; %s is the least", x.nc.ConnectedServerVersion(), versionLeast)
	}
	x.limits("JetStream", &info.Tier, "")
	for name := range info.Tiers {
		t := info.Tiers[name]
		x.limits("JetStream "+name, &t, name)
	}
	return true
}

func (x *examiner) limits(what string, t *jetstream.Tier, tier string) {
	replicas := x.b.replicas()
	if tier != "" && tier != fmt.Sprintf("R%d", replicas) {
		return
	}
	l := t.Limits
	most := func(n int64) string {
		if n < 0 {
			return "without a limit"
		}
		return fmt.Sprintf("%d MB", n>>20)
	}
	switch {
	case tier == "" && l.MaxStore == 0 && l.MaxStreams == 0:
		return // the limits are those of tiers
	case l.MaxStreams > 0 && l.MaxStreams < t.Streams+1:
		x.add(PointWarning, what, "%d of %d streams are there; a node makes some more when they are first needed", t.Streams, l.MaxStreams)
	case l.MaxStore >= 0 && l.MaxStore < int64(replicas)*(bytesLeast*4):
		x.add(PointWarning, what, "storage: %s, which logs outgrow soon", most(l.MaxStore))
	default:
		x.add(PointOK, what, "storage: %s, of which %d MB are used; %d streams", most(l.MaxStore), t.Store>>20, t.Streams)
	}
	if l.MaxConsumers > 0 && l.MaxConsumers < GroupsMax+4 {
		x.add(PointWarning, what, "at most %d consumers; a node has up to %d", l.MaxConsumers, GroupsMax+4)
	}
}

// streams looks at each stream.
func (x *examiner) streams(ctx context.Context, buckets []string) {
	clustered := x.nc.ConnectedClusterName() != ""
	for _, want := range streamsOf(buckets) {
		what := "stream " + want.Name
		within, cancel := context.WithTimeout(ctx, requestMax)
		stream, err := x.b.js.Stream(within, want.Name)
		cancel()
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			x.add(PointWanted, what, "it is not there yet: polity bus setup makes it, and so does a node whose user may")
			continue
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			x.add(PointMissing, what, "nobody answers for it within %s: too many of its servers are away, or they have not agreed yet", requestMax)
			continue
		case err != nil:
			x.add(PointMissing, what, "%s", err)
			continue
		}
		info := stream.CachedInfo()
		if wrong := differs(info.Config, want); len(wrong) > 0 {
			x.add(PointMissing, what, "it has another %s: polity bus setup sets it right", strings.Join(wrong, ", "))
			continue
		}
		away := 0
		if info.Cluster != nil {
			for _, r := range info.Cluster.Replicas {
				if r.Offline || !r.Current {
					away++
				}
			}
		}
		n := max(info.Config.Replicas, 1)
		switch {
		case away > 0:
			x.add(PointWarning, what, "%d of its %d replicas are away or behind", away, n)
		case clustered && n < replicasWanted:
			x.add(PointWarning, what, "on %d of the servers: it is lost with that; polity bus setup --replicas %d", n, replicasWanted)
		default:
			x.add(PointOK, what, "on %d of the servers", n)
		}
	}
}

// disk says when a write is safe.
func (x *examiner) disk(system *Server) error {
	const fix = "set sync_interval: always in its jetstream block"
	if system == nil {
		x.add(PointWarning, "sync", "only a user of the system account is told whether a write is on the disk when it is acknowledged: give --system-creds or --system-user, or %s", fix)
		return nil
	}
	nc, err := system.dial(nats.NoReconnect())
	if err != nil {
		return err
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err == nil {
		err = nc.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", sub.Subject, nil)
	}
	if err != nil {
		return fault.Unavailable.New("nats: ask the system account: %w", err)
	}
	heard := false
	for end := time.Now().Add(systemWait); ; {
		m, err := sub.NextMsg(time.Until(end))
		if err != nil {
			break // each server has answered, or does not
		}
		var answer struct {
			Server struct {
				Name string `json:"name"`
			} `json:"server"`
			Data struct {
				Config struct {
					SyncAlways   bool          `json:"sync_always"`
					SyncInterval time.Duration `json:"sync_interval"`
				} `json:"config"`
				Disabled bool `json:"disabled"`
			} `json:"data"`
		}
		switch err := json.Unmarshal(m.Data, &answer); {
		case err != nil || answer.Server.Name == "":
			continue // no responders, or another kind of server
		case answer.Data.Disabled:
		case answer.Data.Config.SyncAlways:
			x.add(PointOK, "sync", "%s acknowledges what is on its disk", answer.Server.Name)
		default:
			x.add(PointWarning, "sync", "%s has up to %s of what it acknowledged in memory alone, which a power cut takes: %s", answer.Server.Name, answer.Data.Config.SyncInterval, fix)
		}
		heard = true
	}
	if !heard {
		x.add(PointWarning, "sync", "no server answers: is it a user of the system account?")
	}
	return nil
}

// others says who else is connected to the node's account, which the system account alone is told.
func (x *examiner) others(system *Server) error {
	me, err := userInfo(x.nc)
	if system == nil || me == nil || err != nil {
		return err
	}
	nc, err := system.dial(nats.NoReconnect())
	if err != nil {
		return err
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err == nil {
		err = nc.PublishRequest("$SYS.REQ.ACCOUNT."+me.Account+".CONNZ", sub.Subject, []byte(`{"auth": true, "limit": 1024}`))
	}
	if err != nil {
		return fault.Unavailable.New("nats: ask the system account: %w", err)
	}
	users := map[string]bool{}
	for end := time.Now().Add(systemWait); ; {
		m, err := sub.NextMsg(time.Until(end))
		if err != nil {
			break // each server has answered, or does not
		}
		var answer struct {
			Data struct {
				Connections []struct {
					User string `json:"authorized_user"`
				} `json:"connections"`
			} `json:"data"`
		}
		if json.Unmarshal(m.Data, &answer) != nil {
			continue // no responders
		}
		for _, c := range answer.Data.Connections {
			if c.User != me.User {
				users[cmp.Or(c.User, "somebody without a name")] = true
			}
		}
	}
	if len(users) > 0 {
		x.add(PointWarning, "account", "others are connected to account %s, and reach the log unless their permissions are narrow: %s", me.Account, strings.Join(slices.Sorted(maps.Keys(users)), ", "))
	}
	return nil
}

// links says whether whoever reaches the server gets past them.
func (x *examiner) links() error {
	open, err := x.s.open(x.nc)
	switch {
	case err != nil:
		return err
	case open:
		x.add(PointMissing, "links", "%s", Unenforced(x.s.URL))
	default:
		x.add(PointOK, "links", "enforced, as long as nobody but the node has credentials for its account: agents connect to the node's door")
	}
	return nil
}

// Unenforced says why links are not enforced on an open server.
func Unenforced(url string) string {
	return "links not enforced: " + url + " lets everybody into the account of the node, who may write to every agent, and to the log itself. " +
		"Give the account users with credentials, or start the node with --links unenforced"
}
