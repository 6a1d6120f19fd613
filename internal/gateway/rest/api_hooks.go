package rest

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"polity.run"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/gateway/door"
	"polity.run/internal/gateway/hook"
)

const (
	tagHooks    = "Webhooks"
	hookBodyMax = 1 << 20 // bytes of what comes in
)

// hooks are the node's, once there are some.
type hooks struct {
	mu      sync.Mutex
	book    *hook.Book
	senders map[string]context.CancelFunc
	queued  map[string]chan struct{} // tells of messages that are to be sent again
	sender  hook.Sender
}

// beginHooks begins to send, if anybody is to be told.
func (s *Server) beginHooks() {
	book, err := s.hookBook(s.ctx, false)
	if err != nil && s.ctx.Err() == nil {
		s.log.Error("rest: webhooks are not sent", "error", err)
	}
	if book == nil {
		return
	}
	for _, h := range book.Outs() {
		s.sendFor(h.Name)
	}
}

// hookBook returns the node's hooks; nil if there are none yet and none is to be made.
func (s *Server) hookBook(ctx context.Context, begin bool) (*hook.Book, error) {
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	if s.hooks.book != nil {
		return s.hooks.book, nil
	}
	shelf, err := s.engine.HooksShelf(ctx, begin)
	if err != nil || shelf == nil {
		return nil, err
	}
	s.hooks.book, err = hook.Open(ctx, shelf)
	return s.hooks.book, err
}

// sendFor begins to send for a hook, anew if it was changed.
func (s *Server) sendFor(name string) {
	ctx, cancel := s.untilClosing(s.ctx)
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	if s.hooks.senders == nil {
		s.hooks.senders, s.hooks.queued = map[string]context.CancelFunc{}, map[string]chan struct{}{}
	}
	if stop := s.hooks.senders[name]; stop != nil {
		stop()
	}
	s.hooks.senders[name] = cancel
	queued := make(chan struct{}, 1)
	s.hooks.queued[name] = queued
	s.work.run(func() {
		defer cancel()
		if err := s.deliver(ctx, name); err != nil && ctx.Err() == nil {
			s.log.Error("rest: a webhook is not sent any more", "webhook", name, "error", err)
		}
	})
	s.work.run(func() {
		if err := s.redeliver(ctx, name, queued); err != nil && ctx.Err() == nil {
			s.log.Error("rest: a webhook's dead messages are not sent any more", "webhook", name, "error", err)
		}
	})
}

// deliver tells a hook's receiver of what happens: in order, one message at a time, each until it is accepted or dead.
func (s *Server) deliver(ctx context.Context, name string) error {
	h, done, ok := s.hooks.book.Out(name)
	if !ok {
		return nil
	}
	fits, err := changesLike(h.Q)
	if err != nil {
		return err
	}
	after, err := parsePlace(done.Event)
	if err != nil {
		return err
	}
	s.hub.begin(s.ctx, s.work.run)
	return s.hub.follow(ctx, after, func(list []*change) error {
		for _, c := range list {
			if h.Org != "" && c.body.Org != h.Org || !fits(&c.body) {
				continue
			}
			d, err := s.sendChange(ctx, h, c)
			if err != nil {
				return err
			}
			if err := s.hooks.book.Settle(ctx, name, c.body.ID, &d); err != nil {
				return err
			}
		}
		return nil
	}, func(p place) error { return s.hooks.book.Settle(ctx, name, p.String(), nil) })
}

// sendChange tells a hook's receiver of one change.
func (s *Server) sendChange(ctx context.Context, h hook.Out, c *change) (hook.Delivery, error) {
	body, err := json.Marshal(client.Hooked{Type: "run." + c.body.Kind, Timestamp: c.body.At, Data: c.body})
	if err != nil {
		return hook.Delivery{}, err
	}
	d, err := s.hooks.sender.Send(ctx, h, "msg_"+h.Name+"_"+c.body.ID, body)
	if d.Event = c.body.ID; err == nil && d.Status == hook.Dead {
		s.log.Warn("rest: a webhook's message is dead", "webhook", h.Name, "message", d.ID, "error", d.Problem)
	}
	return d, err
}

// mayHook says whether whoever asks may look after hooks of an organization; "" is all, and topics.
func mayHook(ctx context.Context, org string) error {
	if org == "" {
		return access.Permit(ctx, access.Node, access.Object{})
	}
	return access.Permit(ctx, access.Manage, access.Object{Org: org})
}

func (s *Server) describeHooks() {
	manageSome := door.Rule{Verb: access.Manage, Scope: door.OfAnswer}
	type named struct {
		Name string `path:"name" maxLength:"60" doc:"The hook's name"`
	}
	operation(s, manageSome, huma.Operation{
		OperationID: "putHook", Method: http.MethodPost, Path: "/v1/hooks", Tags: []string{tagHooks}, Summary: "Let another service ask", DefaultStatus: http.StatusCreated,
		Description: "Signed requests to /v1/hooks/NAME/in each open a run of an organization, or publish an event. The secret is told once. A hook of the same name is replaced.",
	}, func(ctx context.Context, in *struct{ Body client.NewHook }) (*answered[client.Hook], error) {
		q := in.Body
		h := hook.In{Name: q.Name, Org: q.Org, Agent: q.Agent, Skill: q.Skill, Topic: q.Topic, Window: q.Window, Secret: cmp.Or(q.Secret, hook.NewSecret())}
		err := mayHook(ctx, h.Org)
		if err == nil && h.Org != "" {
			_, _, err = s.orgNamed(ctx, h.Org)
		}
		if err != nil {
			return nil, err
		}
		book, err := s.hookBook(ctx, true)
		if err != nil {
			return nil, err
		}
		return &answered[client.Hook]{hookOf(h)}, book.PutIn(ctx, h)
	})
	operation(s, manageSome, huma.Operation{
		OperationID: "listHooks", Method: http.MethodGet, Path: "/v1/hooks", Tags: []string{tagHooks}, Summary: "Which services may ask",
		Description: "Those that were made here, and those of manifests, which are named ORGANIZATION.NAME and have secret_env.",
	}, func(ctx context.Context, _ *struct{}) (*answered[client.Page[client.Hook]], error) {
		book, err := s.hookBook(ctx, false)
		if err != nil {
			return nil, err
		}
		looksAfter := func(org string) bool { return access.From(ctx).Holds(access.Manage, cmp.Or(org, access.Everywhere)) }
		list, err := s.declaredHooks(ctx, looksAfter)
		if book != nil {
			for _, h := range book.Ins() {
				if looksAfter(h.Org) {
					list = append(list, hookOf(h))
				}
			}
		}
		return listOf(s, list), err
	})
	operation(s, manageSome, huma.Operation{
		OperationID: "dropHook", Method: http.MethodDelete, Path: "/v1/hooks/{name}", Tags: []string{tagHooks}, Summary: "Let a service ask no more",
	}, func(ctx context.Context, in *named) (*answered[client.Done], error) {
		book, err := s.hookBook(ctx, false)
		if err != nil {
			return nil, err
		}
		if strings.Contains(in.Name, hookDot) {
			return nil, fault.Invalid.New("hook: %.80q is that of a manifest: take it out there, and apply that", in.Name)
		}
		if book == nil {
			return nil, fault.NotFound.New("hook: there is no hook %.80q", in.Name)
		}
		if h, ok := book.In(in.Name); ok {
			if err := mayHook(ctx, h.Org); err != nil {
				return nil, err
			}
		}
		return s.done(book.DropIn(ctx, in.Name))
	})
	s.describeIncoming()
	s.describeWebhooks(manageSome)
}

// describeIncoming is what other services ask. Their signature says who they are.
func (s *Server) describeIncoming() {
	type incoming struct {
		Name      string `path:"name" maxLength:"130" doc:"The hook's name; of one that a manifest declares ORGANIZATION.NAME"`
		ID        string `header:"Webhook-Id" maxLength:"200" doc:"The message's ID: the same again is the same message"`
		Timestamp string `header:"Webhook-Timestamp" maxLength:"20" doc:"Seconds since 1970"`
		Signature string `header:"Webhook-Signature" maxLength:"2000" doc:"v1, and the base64 of HMAC-SHA256 of ID.TIMESTAMP.BODY"`
		RawBody   []byte `contentType:"application/json"`
	}
	operation(s, door.Rule{Verb: access.Public}, huma.Operation{
		OperationID: "askByHook", Method: http.MethodPost, Path: "/v1/hooks/{name}/in", Tags: []string{tagHooks}, Summary: "Ask, as another service", DefaultStatus: http.StatusAccepted,
		Description: "Signed as https://www.standardwebhooks.com says, in place of a token. The body is the input of the run, or the data of the event.",
		Security:    []map[string][]string{{}}, SkipValidateBody: true,
	}, func(ctx context.Context, in *incoming) (*answered[client.Accepted], error) {
		if len(in.RawBody) > hookBodyMax {
			return nil, fault.Invalid.New("rest: hook: a message of %d bytes; the most is %d", len(in.RawBody), hookBodyMax)
		}
		run, err := s.askedByHook(ctx, in.Name, http.Header{
			hook.IDHeader: {in.ID}, hook.TimeHeader: {in.Timestamp}, hook.SignatureHeader: {in.Signature},
		}, in.RawBody)
		return &answered[client.Accepted]{client.Accepted{Run: run}}, err
	})
}

func hookOf(h hook.In) client.Hook {
	return client.Hook{Name: h.Name, Org: h.Org, Agent: h.Agent, Skill: h.Skill, Topic: h.Topic, Window: h.Window, Secret: h.Secret}
}

// askedByHook does what a hook is for, once for each message.
func (s *Server) askedByHook(ctx context.Context, name string, header http.Header, body []byte) (polity.RunID, error) {
	if org, declared, ok := strings.Cut(name, hookDot); ok {
		return s.askedByDeclared(ctx, org, declared, header, body)
	}
	var h hook.In
	book, err := s.hookBook(ctx, false)
	if book != nil {
		h, _ = book.In(name)
	}
	if err != nil {
		return "", err
	}
	if h.Name == "" { // whether it is there is nobody's business
		h.Secret = hook.NewSecret()
	}
	id, err := verified(name, h.Secret, h.Window, header, body)
	if err != nil {
		return "", err
	}
	if h.Topic != "" {
		return "", s.engine.Publish(ctx, h.Topic, "hook."+name+"."+id, 0, body)
	}
	orgs, err := s.engine.Installed(ctx)
	if err != nil {
		return "", err
	}
	release, ok := orgs[h.Org]
	if !ok {
		return "", fault.Unavailable.New("rest: hook %s: organization %s is not installed now", name, h.Org)
	}
	run, err := s.startOnce(ctx, "hook "+name+" "+id, engine.Request{Release: release, Agent: h.Agent, Skill: h.Skill, Input: body})
	if err != nil {
		return "", err
	}
	return run.id, nil
}

func (s *Server) describeWebhooks(rule door.Rule) {
	type WebhookPath struct {
		Name string `path:"name" maxLength:"60" doc:"The webhook's name"`
	}
	operation(s, rule, huma.Operation{
		OperationID: "putWebhook", Method: http.MethodPost, Path: "/v1/webhooks", Tags: []string{tagHooks}, Summary: "Tell another service", DefaultStatus: http.StatusCreated,
		Description: "Each change that q chooses is sent to url, signed as https://www.standardwebhooks.com says, in order, again after 1 s, 5 s, 30 s, 2 m, 10 m and 30 m until it " +
			"is accepted, and is dead then. A message may come twice, with the same Webhook-Id. The secret is told once. A webhook of the same name is replaced, and goes on where that was.",
	}, func(ctx context.Context, in *struct{ Body client.NewWebhook }) (*answered[client.Webhook], error) {
		q := in.Body
		h := hook.Out{Name: q.Name, URL: q.URL, Org: q.Org, Q: q.Q, Private: q.Private, Secret: cmp.Or(q.Secret, hook.NewSecret())}
		err := mayHook(ctx, h.Org)
		if err == nil && h.Private {
			err = access.Permit(ctx, access.Node, access.Object{})
		}
		if err == nil {
			_, err = changesLike(h.Q)
		}
		if err != nil {
			return nil, err
		}
		book, err := s.hookBook(ctx, true)
		if err != nil {
			return nil, err
		}
		if old, _, ok := book.Out(h.Name); ok {
			if err := mayHook(ctx, old.Org); err != nil {
				return nil, err
			}
		}
		if err := book.PutOut(ctx, h, place{s.engine.Position(), whole}.String()); err != nil {
			return nil, err
		}
		s.sendFor(h.Name)
		return &answered[client.Webhook]{client.Webhook(h)}, nil
	})
	operation(s, rule, huma.Operation{
		OperationID: "listWebhooks", Method: http.MethodGet, Path: "/v1/webhooks", Tags: []string{tagHooks}, Summary: "Which services are told",
	}, func(ctx context.Context, _ *struct{}) (*answered[client.Page[client.Webhook]], error) {
		book, err := s.hookBook(ctx, false)
		var list []client.Webhook
		if book != nil {
			for _, h := range book.Outs() {
				if access.From(ctx).Holds(access.Manage, cmp.Or(h.Org, access.Everywhere)) {
					list = append(list, client.Webhook(h))
				}
			}
		}
		return listOf(s, list), err
	})
	// found is a webhook that whoever asks looks after.
	found := func(ctx context.Context, name string) (*hook.Book, hook.Progress, error) {
		book, err := s.hookBook(ctx, false)
		if err != nil {
			return nil, hook.Progress{}, err
		}
		if book != nil {
			if h, done, ok := book.Out(name); ok {
				return book, done, mayHook(ctx, h.Org)
			}
		}
		return nil, hook.Progress{}, fault.NotFound.New("hook: there is no webhook %.80q", name)
	}
	operation(s, rule, huma.Operation{
		OperationID: "dropWebhook", Method: http.MethodDelete, Path: "/v1/webhooks/{name}", Tags: []string{tagHooks}, Summary: "Tell a service no more",
	}, func(ctx context.Context, in *WebhookPath) (*answered[client.Done], error) {
		book, _, err := found(ctx, in.Name)
		if err != nil {
			return nil, err
		}
		err = book.DropOut(ctx, in.Name)
		s.hooks.mu.Lock()
		defer s.hooks.mu.Unlock()
		if stop := s.hooks.senders[in.Name]; err == nil && stop != nil {
			stop()
			delete(s.hooks.senders, in.Name)
			delete(s.hooks.queued, in.Name)
		}
		return s.done(err)
	})
	operation(s, rule, huma.Operation{
		OperationID: "listDeliveries", Method: http.MethodGet, Path: "/v1/webhooks/{name}/deliveries", Tags: []string{tagHooks}, Summary: "What became of messages",
		Description: "The newest 100 that arrived and the newest 400 that did not, the newest first.",
	}, func(ctx context.Context, in *struct {
		WebhookPath
		Status string `query:"status" enum:"delivered,dead,queued" doc:"Only those"`
	}) (*answered[client.Page[client.Delivery]], error) {
		_, done, err := found(ctx, in.Name)
		if err != nil {
			return nil, err
		}
		var list []client.Delivery
		for i := len(done.Deliveries) - 1; i >= 0; i-- {
			if d := done.Deliveries[i]; in.Status == "" || d.Status == in.Status {
				list = append(list, client.Delivery(d))
			}
		}
		return listOf(s, list), nil
	})
	operation(s, rule, huma.Operation{
		OperationID: "redeliver", Method: http.MethodPost, Path: "/v1/webhooks/{name}/redeliver", Tags: []string{tagHooks}, Summary: "Send dead messages again",
		Description: "Each is sent again as it was, under the same Webhook-Id, beside what is sent anew, and again as often as at first. What becomes of them its deliveries tell.",
	}, func(ctx context.Context, in *struct {
		WebhookPath
		Body client.Redeliver
	}) (*answered[client.Redelivering], error) {
		book, _, err := found(ctx, in.Name)
		if err != nil {
			return nil, err
		}
		n, err := book.Requeue(ctx, in.Name, in.Body.IDs...)
		if err == nil {
			s.requeued(in.Name)
		}
		return &answered[client.Redelivering]{client.Redelivering{Queued: n}}, err
	})
}
