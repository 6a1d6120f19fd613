package cli

import (
	"context"
	"encoding/json"
	"flag"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/rogpeppe/go-internal/testscript"

	"fmt"
	"os/signal"
	"polity.run/model"
	"polity.run/model/modeltest/wire"
	outside "polity.run/remote"
)

var update = flag.Bool("update", false, "write what comes out as what is wanted")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		// An MCP server on standard input and output, whose tool is described as the environment says.
		"mcpserver": func() {
			s := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
			type in struct {
				Text string `json:"text"`
			}
			mcp.AddTool(s, &mcp.Tool{Name: "shout", Description: os.Getenv("SAYS"), Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
				func(_ context.Context, _ *mcp.CallToolRequest, q in) (*mcp.CallToolResult, map[string]string, error) {
					return nil, map[string]string{"text": strings.ToUpper(q.Text)}, nil
				})
			if err := s.Run(context.Background(), &mcp.StdioTransport{}); err != nil {
				os.Exit(1)
			}
		},
		// A provider on an address that is written into a file; it answers "ready"; with the name of a tool and an input in
		// its arguments it calls that, and answers with what the tool said.
		"provider": func() {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				os.Exit(1)
			}
			if err := os.WriteFile(os.Args[1], []byte("http://"+l.Addr().String()+"/v1"), 0o600); err != nil {
				os.Exit(1)
			}
			s := &wire.Server{Answer: func(s wire.Seen) wire.Reply {
				r := wire.Reply{Text: "ready", Input: 12, Output: 1}
				if asked := len(s.Request.Messages); len(os.Args) > 2 && s.Request.Messages[asked-1].Role != model.Tool {
					r.Calls = []model.Call{{ID: "1", Name: os.Args[2], Input: json.RawMessage(os.Args[3])}}
				} else if len(os.Args) > 2 {
					r.Text = s.Request.Messages[asked-1].Text
				}
				return r
			}}
			if err := http.Serve(l, s); err != nil {
				os.Exit(1)
			}
		},
		// An agent in a process of its own, with the credentials in a file; it knows what pears cost.
		"pricer": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			type order struct{ Count int }
			err := outside.Serve(ctx, os.Args[1], outside.Func(func(_ context.Context, in order) (map[string]int, error) {
				return map[string]int{"cents": 55 * in.Count}, nil
			}))
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		},
		"polity": func() { os.Exit(Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"), UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			e.Setenv("NO_COLOR", "1")
			e.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"plain": plain, "code": code, "keep": keep},
	})
}

// changing is what differs between two runs of the same script.
var changing = []struct {
	text *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`0-[a-z2-7]{24}`), "0-ID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`), "TIME"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), "TIME"},
	{regexp.MustCompile(`\b\d+\.\d+s`), "0.00s"},
	{regexp.MustCompile(`release [0-9a-f]{12}`), "release DIGEST"},
	{regexp.MustCompile(`"release": "[0-9a-f]{64}"`), `"release": "DIGEST"`},
	{regexp.MustCompile(`"reason": ".*"`), `"reason": "REASON"`},
	{regexp.MustCompile(`(?m)^ +0\.00s`), "   0.00s"},
	{regexp.MustCompile(` +TIME +0\.00s +`), "  TIME  0.00s  "},
}

// plain writes stdout or stderr to a file, without what differs from time to time: plain stdout FILE
func plain(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: plain stdout|stderr FILE")
	}
	text := ts.ReadFile(args[0])
	for _, c := range changing {
		text = c.text.ReplaceAllString(text, c.with)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// code runs a command and wants its exit code: code 2 polity ...
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND...")
	}
	script := append([]string{"-c", `want=$0; "$@"; got=$?; [ $got = $want ] || { echo "exit code $got, want $want" >&2; exit 1; }`}, args...)
	if err := ts.Exec("sh", script...); err != nil {
		ts.Fatalf("%v", err)
	}
}

// keep sets a variable to the first run's ID in stdout or stderr: keep stdout NAME
func keep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keep stdout|stderr NAME")
	}
	id := changing[0].text.FindString(ts.ReadFile(args[0]))
	if id == "" {
		ts.Fatalf("no run's ID in %s", args[0])
	}
	ts.Setenv(args[1], id)
}
