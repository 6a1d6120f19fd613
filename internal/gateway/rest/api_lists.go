package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"polity.run"
	"polity.run/client"
	"polity.run/contract"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/filter"
	"polity.run/internal/gateway/door"
	"polity.run/internal/view"
	"polity.run/message"
)

const tagLists = "Lists"

func (s *Server) describeLists() {
	s.describeLookups()
	s.describeMessages()
	type subjects struct {
		Name []string `query:"name" maxItems:"100" doc:"Only these subjects"`
	}
	operation(s, readAll, huma.Operation{
		OperationID: "listSchemas", Method: http.MethodGet, Path: "/v1/schemas", Tags: []string{tagLists}, Summary: "Registered schemas",
		Description: "Each with all of its versions, and what the next one may change.",
	}, func(ctx context.Context, in *subjects) (*answered[client.Page[contract.Subject]], error) {
		list, err := s.engine.Schemas(ctx, in.Name...)
		return listOf(s, list), err
	})
}

func (s *Server) describeLookups() {
	type filtered struct {
		Q string `query:"q" maxLength:"4096" doc:"In the filter language"`
		Paged
	}
	type ofRun struct {
		Q   string       `query:"q" maxLength:"4096" doc:"In the filter language, as in status:unknown to:mail.*"`
		Run polity.RunID `query:"run" maxLength:"1000" doc:"Only of this run and those below it"`
		Paged
	}
	operation(s, readSome, huma.Operation{
		OperationID: "listEffects", Method: http.MethodGet, Path: "/v1/effects", Tags: []string{tagLists}, Summary: "What runs did outside of themselves",
		Description: "Tools called, models, functions and people asked: the newest first, or of one run in the order of its log. The fields of q are those of GET /v1/fields?of=steps.",
	}, func(ctx context.Context, in *ofRun) (*answered[client.Page[polity.StepRow]], error) {
		found, err := s.lookingUp(ctx, polity.Lookup{Of: polity.LookupSteps, Filter: in.Q, Run: in.Run, Limit: in.Limit, After: in.After, Position: in.At})
		return pageOf(found.Steps, &found), err
	})
	operation(s, readSome, huma.Operation{
		OperationID: "searchTexts", Method: http.MethodGet, Path: "/v1/texts", Tags: []string{tagLists}, Summary: "Inputs, outputs and faults with words",
		Description: "The newest first. The fields of q are those of GET /v1/fields?of=texts, and it needs a word.",
	}, func(ctx context.Context, in *filtered) (*answered[client.Page[polity.TextRow]], error) {
		found, err := s.lookingUp(ctx, polity.Lookup{Of: polity.LookupTexts, Filter: in.Q, Limit: in.Limit, After: in.After, Position: in.At})
		return pageOf(found.Texts, &found), err
	})
	type costing struct {
		Q  string `query:"q" maxLength:"4096" doc:"In the filter language, as in agent:reviewer day>-7d"`
		By string `query:"by" enum:"agent,model,tool,skill,day" default:"agent" doc:"What is added up by"`
		Fresh
	}
	operation(s, readAll, huma.Operation{
		OperationID: "listCosts", Method: http.MethodGet, Path: "/v1/costs", Tags: []string{tagLists}, Summary: "What was used",
		Description: "The fields of q are those of GET /v1/fields?of=costs.",
	}, func(ctx context.Context, in *costing) (*answered[client.Page[polity.CostRow]], error) {
		found, err := s.lookingUp(ctx, polity.Lookup{Of: polity.LookupCosts, Filter: in.Q, By: in.By, Limit: polity.LookupLimitMax, Position: in.At})
		return pageOf(found.Costs, &found), err
	})
	operation(s, readAll, huma.Operation{
		OperationID: "listAgentStats", Method: http.MethodGet, Path: "/v1/stats/agents", Tags: []string{tagLists}, Summary: "What agents have done",
	}, func(ctx context.Context, in *struct{ Fresh }) (*answered[client.Page[polity.AgentRow]], error) {
		found, err := s.lookingUp(ctx, polity.Lookup{Of: polity.LookupAgents, Limit: polity.LookupLimitMax, Position: in.At})
		return pageOf(found.Agents, &found), err
	})
	operation(s, greet, huma.Operation{
		OperationID: "getView", Method: http.MethodGet, Path: "/v1/view", Tags: []string{tagLists}, Summary: "How far the tables are",
	}, func(ctx context.Context, _ *struct{}) (*answered[polity.ViewState], error) {
		found, err := s.engine.Lookup(ctx, polity.Lookup{Of: polity.LookupView, Position: 1})
		return &answered[polity.ViewState]{found.View}, err
	})
	type naming struct {
		Of string `query:"of" enum:"runs,steps,texts,events,costs,changes" default:"runs" doc:"Of which list"`
	}
	operation(s, greet, huma.Operation{
		OperationID: "listFields", Method: http.MethodGet, Path: "/v1/fields", Tags: []string{tagLists}, Summary: "Fields of the filter language",
	}, func(_ context.Context, in *naming) (*answered[client.Page[client.Field]], error) {
		fields := changeFields
		if in.Of != "changes" {
			fields = view.Fields(polity.LookupOf(in.Of))
		}
		var list []client.Field
		for _, f := range fields {
			list = append(list, client.Field{Name: f.Name, Kind: fieldKinds[f.Kind], Choices: f.Choices, Doc: f.Doc})
		}
		return listOf(s, list), nil
	})
}

var fieldKinds = map[filter.Kind]string{
	filter.Text: "text", filter.Choice: "choice", filter.Number: "number", filter.Money: "money", filter.Span: "span", filter.Moment: "moment",
}

func (s *Server) describeMessages() {
	type mail struct {
		Run          polity.RunID        `query:"run" maxLength:"1000" doc:"The one that this run delivers, with its data and its answer"`
		From         string              `query:"from" maxLength:"300" doc:"The sender's address, as in agent:buyer"`
		To           string              `query:"to" maxLength:"300" doc:"The recipient's name"`
		Conversation string              `query:"conversation" maxLength:"300"`
		Performative polity.Performative `query:"performative" maxLength:"20" doc:"As in request or inform"`
		Text         string              `query:"text" maxLength:"1000" doc:"Words in the message or its answer"`
		Since        time.Time           `query:"since" doc:"Not before this time"`
		Dead         bool                `query:"dead" doc:"Those that were not done, and were neither replayed nor dropped"`
		Waiting      bool                `query:"waiting" doc:"Those that have not ended"`
		Limit        int                 `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most messages of the answer"`
		After        uint64              `query:"after" doc:"Next of the page before"`
	}
	operation(s, readSome, huma.Operation{
		OperationID: "listMessages", Method: http.MethodGet, Path: "/v1/messages", Tags: []string{tagLists}, Summary: "Messages between agents",
		Description: "The newest first. An envelope is a CloudEvent.",
	}, func(ctx context.Context, in *mail) (*answered[client.Page[message.Entry]], error) {
		orgs, err := readable(ctx)
		if err != nil {
			return nil, err
		}
		done, err := s.engine.Messages(ctx, message.Do{List: &message.Filter{
			Orgs: orgs,
			Run:  in.Run, From: in.From, To: in.To, Conversation: in.Conversation, Performative: in.Performative, Text: in.Text, Since: in.Since,
			Dead: in.Dead, Waiting: in.Waiting, Limit: in.Limit, After: in.After,
		}})
		page := listOf(s, done.Entries)
		if done.Next > 0 {
			page.Body.Next = itoa(done.Next)
		}
		return page, err
	})
	operation(s, readAll, huma.Operation{
		OperationID: "listTopics", Method: http.MethodGet, Path: "/v1/topics", Tags: []string{tagLists}, Summary: "Topics, and who reads them",
	}, func(ctx context.Context, _ *struct{}) (*answered[polity.Topics], error) {
		a, err := s.engine.Topics(ctx, polity.TopicsRequest{State: true})
		if err == nil && a.State == nil {
			err = fault.Internal.New("rest: topics: no state")
		}
		if err != nil {
			return nil, err
		}
		return &answered[polity.Topics]{*a.State}, nil
	})
	type TopicPath struct {
		Topic string `path:"topic" maxLength:"200" doc:"The topic's name"`
	}
	type reading struct {
		Topic string    `path:"topic" maxLength:"200" doc:"The topic's name, or a pattern: * stands for one word, > for all that follow"`
		After uint64    `query:"after" doc:"The position of the last event that is known"`
		Since time.Time `query:"since" doc:"In place of after"`
		Limit int       `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most events of the answer"`
	}
	operation(s, readAll, huma.Operation{
		OperationID: "readTopic", Method: http.MethodGet, Path: "/v1/topics/{topic}/events", Tags: []string{tagLists}, Summary: "What was published",
	}, func(ctx context.Context, in *reading) (*answered[client.Page[polity.Published]], error) {
		a, err := s.engine.Topics(ctx, polity.TopicsRequest{Read: &polity.TopicRead{Topic: in.Topic, After: in.After, Since: in.Since, Most: in.Limit}})
		page := listOf(s, a.Events)
		if len(a.Events) == in.Limit {
			page.Body.Next = itoa(a.Next)
		}
		return page, err
	})
	type publishing struct {
		TopicPath
		Key  string `header:"Idempotency-Key" maxLength:"200" doc:"In place of the body's id"`
		Body client.Publishing
	}
	operation(s, door.Rule{Verb: access.Operate, Beside: true}, huma.Operation{
		OperationID: "publish", Method: http.MethodPost, Path: "/v1/topics/{topic}/events", Tags: []string{tagLists}, Summary: "Publish an event",
		Description: "The same id on the same topic is the same event.",
	}, func(ctx context.Context, in *publishing) (*answered[client.Done], error) {
		return s.done(s.engine.Publish(ctx, in.Topic, idOr(in.Body.ID, in.Key), in.Body.Version, in.Body.Data))
	})
}
