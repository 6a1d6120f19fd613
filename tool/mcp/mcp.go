// Package mcp makes tools of servers of the Model Context Protocol: programs on standard input and output, or addresses.
//
// It exists so that such a tool is what it was when somebody accepted it. A server can change its tools' descriptions at any time, and with
// them what a model is told to do (a "rug pull"). So each tool is pinned by its specification, and one that has changed is refused.
//
//	first call -> connect -> list the tools -> compare with the pins -> call -> ...  until Close
package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"polity.run"
	"polity.run/fault"
	"polity.run/tool"
	"polity.run/tool/dial"
	"polity.run/trace"
)

// Limits.
const (
	ToolsMax       = 500
	DescriptionMax = 16 << 10 // bytes of a tool's description
	SchemaMax      = 64 << 10 // bytes of one of its schemas
	connectMax     = 30 * time.Second
	endMax         = 3 * time.Second // that a program has to end by itself
	stderrMax      = 4 << 10         // bytes of a program's last words
	eventMax       = 8 << 20         // bytes of one event over HTTP
	keyMeta        = "polity.run/key"
	receiptMeta    = "polity.run/receipt" // where the declaration names no other
)

// Server is a connection to a server, made when it is first needed. It is safe for concurrent use. Close it.
type Server struct {
	src tool.Source
	log *slog.Logger

	mu      sync.Mutex
	session *sdk.ClientSession
	program *exec.Cmd
	words   *tail
	live    map[string]tool.Spec // by the server's own name; nil until listed, or when the server said that they changed
	closed  bool
}

// New returns a server that is not connected yet. It returns fault.Invalid for a declaration that is wrong. log may be nil.
func New(src tool.Source, log *slog.Logger) (*Server, error) {
	m := src.MCP
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	switch {
	case m == nil:
		return nil, fault.Invalid.New("tools %s: not of kind mcp", src.Name)
	case (len(m.Command) > 0) == (m.URL != ""):
		return nil, fault.Invalid.New("tools %s: set one of command and url", src.Name)
	case m.URL != "":
		if u, err := url.Parse(m.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			return nil, fault.Invalid.New("tools %s: url %q: want an address as in https://example.com/mcp", src.Name, m.URL)
		}
	}
	return &Server{src: src, log: log}, nil
}

// Close ends the connection, and the program if there is one.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.drop()
	return nil
}

// drop ends the connection; s.mu is held.
func (s *Server) drop() {
	if s.session == nil {
		return
	}
	if err := s.session.Close(); err != nil {
		s.log.Debug("mcp: close", "tools", s.src.Name, "error", err)
	}
	if s.program != nil && s.program.Process != nil {
		// What the program started lives in its process group.
		if err := syscall.Kill(-s.program.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			s.log.Debug("mcp: end the program's group", "tools", s.src.Name, "error", err)
		}
	}
	s.session, s.program, s.live = nil, nil, nil
}

// connected returns the session; s.mu is held.
func (s *Server) connected(ctx context.Context) (*sdk.ClientSession, error) {
	if s.closed {
		return nil, fault.Unavailable.New("tools %s: the node is stopping", s.src.Name)
	}
	if s.session != nil {
		return s.session, nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectMax)
	defer cancel()
	transport, err := s.transport()
	if err != nil {
		return nil, err
	}
	client := sdk.NewClient(&sdk.Implementation{Name: "polity", Version: "1"}, &sdk.ClientOptions{
		Capabilities: &sdk.ClientCapabilities{},
		ToolListChangedHandler: func(context.Context, *sdk.ToolListChangedRequest) {
			go func() { // the handler may run while somebody holds the lock and waits for the server
				s.mu.Lock()
				defer s.mu.Unlock()
				s.live = nil
			}()
		},
	})
	session, err := client.Connect(ctx, transport, nil)
	if err != nil {
		words := ""
		if s.words != nil {
			words = s.words.String()
		}
		s.program = nil
		if ctx.Err() != nil {
			return nil, fault.Timeout.New("tools %s: the server does not answer within %s%s", s.src.Name, connectMax, words)
		}
		return nil, fault.Unavailable.New("tools %s: cannot connect: %w%s", s.src.Name, err, words)
	}
	s.session = session
	return session, nil
}

func (s *Server) transport() (sdk.Transport, error) {
	m := s.src.MCP
	if m.URL != "" {
		u, err := url.Parse(m.URL)
		if err != nil {
			return nil, fault.Invalid.New("tools %s: %w", s.src.Name, err)
		}
		client := dial.Client(m.Private, []string{u.Host})
		headers := http.Header{}
		for name, value := range m.Headers {
			text, err := dial.Expand(value)
			if err != nil {
				return nil, fault.Denied.New("tools %s: header %s: %w", s.src.Name, name, err)
			}
			headers.Set(name, text)
		}
		client.Transport = &adding{headers, client.Transport}
		return &sdk.StreamableClientTransport{Endpoint: m.URL, HTTPClient: client, MaxEventSize: eventMax, DisableStandaloneSSE: true}, nil
	}
	path, err := exec.LookPath(m.Command[0])
	if err != nil {
		return nil, fault.NotFound.New("tools %s: %w", s.src.Name, err)
	}
	c := exec.Command(path, m.Command[1:]...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for _, pair := range m.Env {
		name, _, given := strings.Cut(pair, "=")
		if given {
			c.Env = append(c.Env, pair)
			continue
		}
		value, set := os.LookupEnv(name)
		if !set {
			return nil, fault.Denied.New("tools %s: the environment has no %s; set it and start again", s.src.Name, name)
		}
		c.Env = append(c.Env, name+"="+value)
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.words = &tail{}
	c.Stderr = s.words
	s.program = c
	return &sdk.CommandTransport{Command: c, TerminateDuration: endMax}, nil
}

// adding adds headers to each request.
type adding struct {
	headers http.Header
	next    http.RoundTripper
}

func (a *adding) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, values := range a.headers {
		r.Header[name] = values
	}
	return a.next.RoundTrip(r)
}

// tail keeps the last words of a program.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - stderrMax; over > 0 {
		t.text = append([]byte(nil), t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(t.text), "\uFFFD")), " ")
	if text == "" {
		return ""
	}
	return "; it says: " + text
}

// Specs connects and returns what the server's tools are now, for somebody to accept. A tool that cannot be used is
// fault.Invalid, all of them at once.
func (s *Server) Specs(ctx context.Context) ([]tool.Spec, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session, err := s.connected(ctx)
	if err != nil {
		return nil, err
	}
	return s.list(ctx, session)
}

// list asks the server for its tools; s.mu is held.
func (s *Server) list(ctx context.Context, session *sdk.ClientSession) ([]tool.Spec, error) {
	var specs []tool.Spec
	var problems []error
	live, taken := map[string]tool.Spec{}, map[string]string{}
	version := "1"
	if init := session.InitializeResult(); init != nil && init.ServerInfo != nil && init.ServerInfo.Version != "" {
		version = init.ServerInfo.Version
	}
	for t, err := range session.Tools(ctx, nil) {
		if err != nil {
			if err = s.lost(ctx, err); errors.Is(err, fault.Unavailable) {
				s.drop()
			}
			return nil, err
		}
		if len(specs) == ToolsMax {
			return nil, fault.Invalid.New("tools %s: more than %d tools", s.src.Name, ToolsMax)
		}
		spec, err := s.spec(t, version)
		if err == nil && taken[spec.Name] != "" {
			err = fault.Invalid.New("tools %s: %q and %q would both be %s", s.src.Name, taken[spec.Name], t.Name, spec.Name)
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		taken[spec.Name] = t.Name
		live[t.Name] = spec
		specs = append(specs, spec)
	}
	s.live = live
	return specs, errors.Join(problems...)
}

// spec is what a tool is, as it is pinned.
func (s *Server) spec(t *sdk.Tool, version string) (tool.Spec, error) {
	if len(t.Description) > DescriptionMax {
		return tool.Spec{}, fault.Invalid.New("tool %s.%.80s: a description of %d bytes; the most is %d", s.src.Name, t.Name, len(t.Description), DescriptionMax)
	}
	effect := polity.EffectExternal
	if a := t.Annotations; a != nil && a.ReadOnlyHint {
		effect = polity.EffectNone
	} else if a != nil && a.IdempotentHint {
		effect = polity.EffectIdempotent
	}
	if named := s.src.Effects[t.Name]; named != "" {
		effect = named
	}
	spec := tool.Spec{
		Name: s.src.Name + "." + plainName(t.Name), Version: version, Description: t.Description, Effect: effect,
		Timeout: time.Duration(s.src.MCP.Timeout), Remote: t.Name, Receipt: s.src.Receipts[plainName(t.Name)],
	}
	for _, one := range []struct {
		from any
		to   *json.RawMessage
	}{{t.InputSchema, &spec.Input}, {t.OutputSchema, &spec.Output}} {
		if one.from == nil {
			continue
		}
		raw, err := json.Marshal(one.from)
		if err != nil || len(raw) > SchemaMax {
			return spec, fault.Invalid.New("tool %s: a schema cannot be used: %d bytes, the most is %d", spec.Name, len(raw), SchemaMax)
		}
		*one.to = raw
	}
	return spec, spec.Check()
}

// plainName writes a name with what tools' names may hold.
func plainName(name string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		default:
			return '-'
		}
	}, name), "-")
}

// Tools returns the pinned tools. Nothing is connected until one is called.
func (s *Server) Tools() []tool.Tool {
	var out []tool.Tool
	for _, spec := range s.src.Specs {
		out = append(out, &remote{s, spec})
	}
	return out
}

// remote is one tool of a server.
type remote struct {
	server *Server
	spec   tool.Spec
}

func (r *remote) Spec() tool.Spec { return r.spec }

// Call calls the tool if it is still what was accepted. It returns fault.Diverged if it is not, fault.Failed for what the tool itself
// reports, and fault.Unavailable if the server cannot be reached or broke off; then an external call is fault.Unknown.
func (r *remote) Call(ctx context.Context, c tool.Call) (json.RawMessage, error) {
	session, err := r.server.checked(ctx, r.spec)
	if err != nil {
		return nil, err
	}
	input := c.Input
	if len(input) == 0 {
		input = json.RawMessage("{}")
	}
	meta := sdk.Meta{keyMeta: c.Key}
	trace.From(ctx).Each(func(name, value string) { meta[name] = value }) // as SEP-414 of the protocol says
	out, err := session.CallTool(ctx, &sdk.CallToolParams{Meta: meta, Name: r.spec.Remote, Arguments: input})
	if err != nil {
		err = r.server.lost(ctx, err)
		if errors.Is(err, fault.Unavailable) {
			r.server.forget(session)
		}
		if r.spec.Effect == polity.EffectExternal && errors.Is(err, fault.Unavailable) {
			return nil, fault.Unknown.New("tool %s: nobody knows whether it was done: %w", r.spec.Name, err)
		}
		return nil, err
	}
	if c.Receipt != nil {
		c.Receipt(proof(r.spec, out.Meta))
	}
	return result(r.spec, out)
}

// proof is what a result's _meta proves.
func proof(spec tool.Spec, meta sdk.Meta) json.RawMessage {
	name := spec.Receipt
	if name == "" || strings.HasPrefix(name, "$") {
		name = receiptMeta
	}
	told, there := meta[name]
	if !there {
		return nil
	}
	raw, err := json.Marshal(map[string]any{name: told})
	if err != nil {
		return nil // cannot be: it was JSON
	}
	return raw
}

// checked returns the session once the live tool is the pinned one. A connection that broke is made again, once.
func (s *Server) checked(ctx context.Context, pin tool.Spec) (*sdk.ClientSession, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session, err := s.connected(ctx)
	if err != nil {
		return nil, err
	}
	if s.live == nil {
		if _, err = s.list(ctx, session); errors.Is(err, fault.Unavailable) {
			if session, err = s.connected(ctx); err == nil {
				_, err = s.list(ctx, session)
			}
		}
		if err != nil && s.live == nil {
			return nil, err
		}
	}
	now, there := s.live[pin.Remote]
	now.Version = pin.Version // another version with the same tool is the same tool
	switch {
	case !there:
		return nil, fault.Diverged.New("tool %s: the server no longer has it; see: polity tools accept", pin.Name)
	case now.Digest() != pin.Digest():
		return nil, fault.Diverged.New("tool %s is not what was accepted: %s; look at it with: polity tools accept", pin.Name, Difference(pin, now))
	}
	return session, nil
}

// forget drops a session that broke, unless there is another one already.
func (s *Server) forget(broken *sdk.ClientSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == broken {
		s.drop()
	}
}

// lost maps a failure of the connection. What is fault.Unavailable cannot be used any more.
func (s *Server) lost(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.Timeout.New("tools %s: no answer in time", s.src.Name)
	case ctx.Err() != nil:
		return fault.Cancelled.New("tools %s: %w", s.src.Name, context.Canceled)
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return known.Kind.New("tools %s: %s", s.src.Name, known.Text)
	}
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if errors.Is(err, sdk.ErrConnectionClosed) || strings.Contains(text, "EOF") || strings.Contains(text, "closed") {
		return fault.Unavailable.New("tools %s: the server broke off: %.300s", s.src.Name, text)
	}
	return fault.Invalid.New("tools %s: the server refuses: %.300s", s.src.Name, text)
}

// result is a tool's result as JSON: what is structured as it is, else {"text", "parts"}.
func result(spec tool.Spec, r *sdk.CallToolResult) (json.RawMessage, error) {
	var text strings.Builder
	type part struct {
		Type string `json:"type"`
		MIME string `json:"mime,omitempty"`
		URI  string `json:"uri,omitempty"`
		Size int    `json:"bytes,omitempty"`
	}
	var parts []part
	for _, c := range r.Content {
		switch c := c.(type) {
		case *sdk.TextContent:
			if text.Len() > 0 {
				text.WriteByte('\n')
			}
			text.WriteString(strings.ToValidUTF8(c.Text, "\uFFFD"))
		case *sdk.ImageContent:
			parts = append(parts, part{Type: "image", MIME: c.MIMEType, Size: len(c.Data)})
		case *sdk.AudioContent:
			parts = append(parts, part{Type: "audio", MIME: c.MIMEType, Size: len(c.Data)})
		case *sdk.ResourceLink:
			parts = append(parts, part{Type: "link", MIME: c.MIMEType, URI: c.URI})
		case *sdk.EmbeddedResource:
			p := part{Type: "resource"}
			if c.Resource != nil {
				p.MIME, p.URI, p.Size = c.Resource.MIMEType, c.Resource.URI, len(c.Resource.Blob)
				text.WriteString(c.Resource.Text)
			}
			parts = append(parts, p)
		}
	}
	if r.IsError {
		return nil, fault.Failed.New("tool %s: %.2000s", spec.Name, text.String())
	}
	if r.StructuredContent != nil {
		return json.Marshal(r.StructuredContent)
	}
	if len(spec.Output) > 0 {
		return nil, fault.Invalid.New("tool %s: promises a structured result and gives none", spec.Name)
	}
	out := struct {
		Text  string `json:"text"`
		Parts []part `json:"parts,omitempty"`
	}{text.String(), parts}
	return json.Marshal(out)
}

// Difference words what is other in two specifications of a tool.
func Difference(old, now tool.Spec) string {
	var out []string
	add := func(what, a, b string) {
		if a != b {
			out = append(out, fmt.Sprintf("%s was %.300q and is %.300q", what, a, b))
		}
	}
	add("description", old.Description, now.Description)
	add("input", string(compact(old.Input)), string(compact(now.Input)))
	add("output", string(compact(old.Output)), string(compact(now.Output)))
	add("effect", string(old.Effect), string(now.Effect))
	add("name", old.Remote, now.Remote)
	add("timeout", old.Timeout.String(), now.Timeout.String())
	if len(out) == 0 {
		return "it differs"
	}
	return strings.Join(out, "; ")
}

func compact(raw json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

// addressing are words by which a description speaks to the model and not of the tool.
var addressing = []string{
	"ignore previous", "ignore all", "ignore your", "disregard", "do not tell", "don't tell", "do not mention", "<important", "system prompt",
	"before using this tool", "you must", "instead of", "secretly", "api key", "password", "~/.ssh", "id_rsa",
}

// Suspicious says what in a specification somebody should look at twice before accepting it. It finds known signs, not every trick.
func Suspicious(s tool.Spec) []string {
	var out []string
	text := s.Description + " " + string(s.Input) + " " + string(s.Output)
	for _, r := range text {
		if unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r) || r >= 0xE0000 && r <= 0xE007F {
			out = append(out, fmt.Sprintf("an invisible character (U+%04X)", r))
			break
		}
	}
	lower := strings.ToLower(text)
	for _, words := range addressing {
		if strings.Contains(lower, words) {
			out = append(out, fmt.Sprintf("it says %q", words))
		}
	}
	return out
}
