package rest

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
)

const (
	recordsDefault = 100
	recordsMax     = 1000
)

// Keys returns all API keys of an engine.
func Keys(ctx context.Context, e *engine.Engine) ([]client.AccessKey, error) {
	book, err := e.Access(ctx)
	if err != nil {
		return nil, err
	}
	list := []client.AccessKey{}
	for _, k := range book.Keys() {
		list = append(list, keyOf(k))
	}
	return list, nil
}

// CreateKey makes an API key. Nobody gives more than they have.
func CreateKey(ctx context.Context, e *engine.Engine, q client.NewKey) (client.CreatedKey, error) {
	book, err := e.Access(ctx)
	if err != nil {
		return client.CreatedKey{}, err
	}
	grants := make([]access.Grant, len(q.Grants))
	for i, g := range q.Grants {
		grants[i] = access.Grant{Org: g.Org, Role: access.Role(g.Role)}
	}
	k, token, err := book.Create(ctx, access.From(ctx), q.Name, grants, time.Duration(q.Life))
	return client.CreatedKey{Key: keyOf(k), Token: token}, err
}

// RevokeKey ends an API key.
func RevokeKey(ctx context.Context, e *engine.Engine, id string) (client.AccessKey, error) {
	book, err := e.Access(ctx)
	if err != nil {
		return client.AccessKey{}, err
	}
	k, err := book.Revoke(ctx, id)
	return keyOf(k), err
}

// AccessLog returns records of who wanted what.
func AccessLog(ctx context.Context, e *engine.Engine, after uint64, most int) ([]client.AccessRecord, error) {
	if most < 1 || most > recordsMax {
		return nil, fault.Invalid.New("access: limit: want 1 to %d", recordsMax)
	}
	records, err := e.Audited(ctx, after, most)
	list := make([]client.AccessRecord, len(records))
	for i, r := range records {
		list[i] = client.AccessRecord{
			Seq: r.Seq, At: r.At, Who: r.Who, Name: r.Name, Kind: string(r.Kind), Verb: string(r.Verb), Asked: r.Asked, Object: client.AccessObject{Org: r.Object.Org, Run: r.Object.Run, Key: r.Object.Key},
			Decision: client.AccessDecision{Allowed: r.Decision.Allowed, Why: r.Decision.Why}, From: r.From,
		}
	}
	return list, err
}

func keyOf(k access.Key) client.AccessKey {
	grants := make([]client.Grant, len(k.Grants))
	for i, g := range k.Grants {
		grants[i] = client.Grant{Org: g.Org, Role: string(g.Role)}
	}
	return client.AccessKey{ID: k.ID, Name: k.Name, Grants: grants, By: k.By, Made: k.Made, Until: k.Until, Used: k.Used, Revoked: k.Revoked}
}

func (s *Server) keys(w http.ResponseWriter, r *http.Request) {
	list, err := Keys(r.Context(), s.engine)
	s.reply(w, client.AccessKeys{Keys: list}, err)
}

func (s *Server) createKey(r *http.Request, q client.NewKey) (client.CreatedKey, error) {
	return CreateKey(r.Context(), s.engine, q)
}

func (s *Server) revokeKey(r *http.Request, _ nothing) (client.AccessKey, error) {
	return RevokeKey(r.Context(), s.engine, r.PathValue("key"))
}

func (s *Server) accessLog(w http.ResponseWriter, r *http.Request) {
	after, most := uint64(0), recordsDefault
	var err error
	if text := r.URL.Query().Get("after"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			s.refuse(w, fault.Invalid.New("access: after: want the seq of a record"))
			return
		}
	}
	if text := r.URL.Query().Get("limit"); text != "" {
		if most, err = strconv.Atoi(text); err != nil {
			s.refuse(w, fault.Invalid.New("access: limit: want 1 to %d", recordsMax))
			return
		}
	}
	list, err := AccessLog(r.Context(), s.engine, after, most)
	s.reply(w, client.AccessLog{Records: list}, err)
}
