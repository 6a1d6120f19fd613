package rest

import (
	"cmp"
	"context"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"polity.run"
	"polity.run/agent"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/gateway/door"
	"polity.run/internal/topology"
)

const tagOrgs = "Organizations"

func (s *Server) describeOrgs() {
	operation(s, readSome, huma.Operation{
		OperationID: "listOrgs", Method: http.MethodGet, Path: "/v1/orgs", Tags: []string{tagOrgs}, Summary: "Installed organizations",
	}, func(ctx context.Context, _ *struct{}) (*answered[client.Page[client.Org]], error) {
		orgs, err := s.visibleOrgs(ctx)
		if err != nil {
			return nil, err
		}
		load, err := s.load(ctx)
		if err != nil {
			return nil, err
		}
		var list []client.Org
		for _, name := range slices.Sorted(maps.Keys(orgs)) {
			r, err := s.engine.Described(orgs[name])
			if err != nil {
				return nil, err
			}
			list = append(list, orgOf(r, orgs[name], load))
		}
		return listOf(s, list), nil
	})
	type named struct {
		Name string `path:"name" maxLength:"200" doc:"The organization's name"`
	}
	operation(s, door.Rule{Verb: access.Read, Scope: door.OfOrg}, huma.Operation{
		OperationID: "getOrg", Method: http.MethodGet, Path: "/v1/orgs/{name}", Tags: []string{tagOrgs}, Summary: "An organization",
		Description: "With its members, who has to do with whom, and what each has to do now.",
	}, func(ctx context.Context, in *named) (*answered[client.OrgDetail], error) {
		_, d, err := s.orgNamed(ctx, in.Name)
		if err != nil {
			return nil, err
		}
		o, err := s.org(ctx, d)
		return &answered[client.OrgDetail]{o}, err
	})
	type within struct {
		Org string `query:"org" maxLength:"200" doc:"Only of this organization"`
	}
	operation(s, readSome, huma.Operation{
		OperationID: "listAgents", Method: http.MethodGet, Path: "/v1/agents", Tags: []string{tagOrgs}, Summary: "Agents of installed organizations",
	}, func(ctx context.Context, in *within) (*answered[client.Page[client.AgentInfo]], error) {
		var list []client.AgentInfo
		err := s.eachOrg(ctx, in.Org, func(r *agent.Release) {
			for i := range r.Agents {
				list = append(list, agentOf(r, &r.Agents[i]))
			}
		})
		return listOf(s, list), err
	})
	operation(s, readSome, huma.Operation{
		OperationID: "listSkills", Method: http.MethodGet, Path: "/v1/skills", Tags: []string{tagOrgs}, Summary: "What agents of installed organizations can be asked",
	}, func(ctx context.Context, in *within) (*answered[client.Page[client.SkillInfo]], error) {
		var list []client.SkillInfo
		err := s.eachOrg(ctx, in.Org, func(r *agent.Release) {
			for i := range r.Agents {
				a := &r.Agents[i]
				for _, k := range a.Skills {
					list = append(list, client.SkillInfo{
						Org: r.Name, Agent: a.Name, Name: k.Name, Description: k.Description, Tags: k.Tags, Input: k.Input, Output: k.Output, Main: string(a.Name) == r.Main,
					})
				}
			}
		})
		return listOf(s, list), err
	})
}

// visibleOrgs are the installed organizations that whoever asks may read.
func (s *Server) visibleOrgs(ctx context.Context) (map[string]engine.Digest, error) {
	orgs, err := s.engine.Installed(ctx)
	maps.DeleteFunc(orgs, func(name string, _ engine.Digest) bool { return !access.From(ctx).Holds(access.Read, name) })
	return orgs, err
}

// orgNamed returns the name and the release of an installed organization; of "" that of the only one.
func (s *Server) orgNamed(ctx context.Context, name string) (string, engine.Digest, error) {
	orgs, err := s.visibleOrgs(ctx)
	if err != nil {
		return "", engine.Digest{}, err
	}
	if d, ok := orgs[name]; ok {
		return name, d, nil
	}
	names := slices.Sorted(maps.Keys(orgs))
	switch {
	case name == "" && len(names) == 1:
		return names[0], orgs[names[0]], nil
	case name == "" && len(names) > 1:
		return "", engine.Digest{}, fault.Invalid.New("rest: org: it is missing, and there are %d: %.200v", len(names), names)
	case name == "":
		return "", engine.Digest{}, fault.NotFound.New("rest: no organization is installed; polity install installs one")
	}
	near := ""
	if n := fault.Nearest(name, names); n != "" {
		near = "; did you mean " + n + "?"
	}
	return "", engine.Digest{}, fault.NotFound.New("rest: no organization %.100q is installed%s", name, near)
}

// eachOrg calls each for the installed organizations, or for one.
func (s *Server) eachOrg(ctx context.Context, only string, each func(*agent.Release)) error {
	orgs, err := s.visibleOrgs(ctx)
	if err != nil {
		return err
	}
	if only != "" {
		_, d, err := s.orgNamed(ctx, only)
		if err != nil {
			return err
		}
		orgs = map[string]engine.Digest{only: d}
	}
	for _, name := range slices.Sorted(maps.Keys(orgs)) {
		r, err := s.engine.Described(orgs[name])
		if err != nil {
			return err
		}
		each(r)
	}
	return nil
}

// load says what agents have to do now, and how often they failed lately.
func (s *Server) load(ctx context.Context) ([]polity.Load, error) {
	s.hub.begin(s.ctx, s.work.run)
	list, err := s.engine.Loads(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range s.hub.failures() {
		i := slices.IndexFunc(list, func(l polity.Load) bool { return l.Org == f.org && l.Agent == f.agent })
		if i < 0 {
			i = len(list)
			list = append(list, polity.Load{Org: f.org, Agent: f.agent})
		}
		list[i].Errors++
	}
	return list, nil
}

// orgOf is an organization at a glance.
func orgOf(r *agent.Release, d engine.Digest, load []polity.Load) client.Org {
	o := client.Org{Name: r.Name, Release: hex.EncodeToString(d[:]), Main: r.Main, Agents: len(r.Agents)}
	for _, l := range load {
		if l.Org == r.Name {
			o.Running, o.Waiting, o.Errors = o.Running+l.Running, o.Waiting+l.Waiting, o.Errors+l.Errors
		}
	}
	return o
}

func (s *Server) org(ctx context.Context, d engine.Digest) (client.OrgDetail, error) {
	r, err := s.engine.Described(d)
	if err != nil {
		return client.OrgDetail{}, err
	}
	load, err := s.load(ctx)
	if err != nil {
		return client.OrgDetail{}, err
	}
	o := client.OrgDetail{Org: orgOf(r, d, load), Bounds: r.Bounds.Or(polity.DefaultBounds()), Load: []polity.Load{}, Topology: client.Topology{Nodes: []client.Node{}, Edges: []client.Edge{}}}
	for _, l := range load {
		if l.Org == r.Name {
			o.Load = append(o.Load, l)
		}
	}
	slices.SortFunc(o.Load, func(a, b polity.Load) int { return cmp.Compare(a.Agent, b.Agent) })
	for i := range r.Agents {
		o.Members = append(o.Members, agentOf(r, &r.Agents[i]))
	}
	instances, err := s.engine.Instances(ctx)
	if err != nil {
		return client.OrgDetail{}, err
	}
	nodes, edges := topology.Of(topology.Org{Release: r})
	for _, n := range nodes {
		node := client.Node{Name: n.Name, What: n.What, Kind: n.Kind, Pattern: n.Pattern, Main: n.Main}
		if n.What == "agent" {
			node.Instances = instances[polity.AgentName(n.Name)]
		}
		o.Topology.Nodes = append(o.Topology.Nodes, node)
	}
	for _, e := range edges {
		o.Topology.Edges = append(o.Topology.Edges, client.Edge(e))
	}
	return o, nil
}

func agentOf(r *agent.Release, a *agent.Definition) client.AgentInfo {
	info := client.AgentInfo{Org: r.Name, Name: a.Name, Kind: a.Kind, Description: a.Description, Main: string(a.Name) == r.Main, Skills: []string{}}
	if a.Org != nil {
		info.Pattern = a.Org.Pattern
	}
	if a.Model != nil {
		info.Model = a.Model.Model
	}
	for _, k := range a.Skills {
		info.Skills = append(info.Skills, k.Name)
	}
	info.Signals = slices.Sorted(maps.Keys(a.Signals))
	return info
}
