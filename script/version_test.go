package script_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/script"
)

// versioned is a script that asks before it fetches since version 2, and also rests since version 3.
func versioned(c *script.Context, in string) (string, error) {
	if c.Since("2") {
		if err := c.Ask("may", "oracle", in, nil); err != nil {
			return "", err
		}
	}
	var page string
	if err := c.Call("fetch", "web.get", in, &page); err != nil {
		return "", err
	}
	if c.Since("3") {
		return page, c.Sleep("rest", 1)
	}
	return page, nil
}

func newVersioned(t *testing.T, live int, version string, older ...string) *agent.Agent {
	t.Helper()
	a, err := script.New("fetcher", version, versioned, script.Config{LiveMax: live, Older: older})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestVersions plays the runs of each version with the newest code, with coroutines kept and dropped.
func TestVersions(t *testing.T) {
	for _, live := range []int{1, -1} {
		a := newVersioned(t, live, "3", "1", "2")
		for version, tt := range map[string]struct{ events, want string }{
			"1": {`fetch "page"`, `fetch (call web.get) "in"
<- fetch "page"
finish (finish) "page"
`},
			"2": {`may 1; fetch "page"`, `may (ask oracle) "in"
<- may 1
fetch (call web.get) "in"
<- fetch "page"
finish (finish) "page"
`},
			"3": {`may 1; fetch "page"; rest `, `may (ask oracle) "in"
<- may 1
fetch (call web.get) "in"
<- fetch "page"
rest (sleep 1ns)
<- rest 
finish (finish) "page"
`},
		} {
			p := newPlay[any](t, nil, nil)
			p.decider = a.Decider.(polity.Forgetter)
			if version != a.Version {
				p.decider = a.Older[version].(polity.Forgetter)
			}
			p.open()
			for e := range strings.SplitSeq(tt.events, "; ") {
				p.line(e)
			}
			if diff := cmp.Diff(tt.want, p.log.String()); diff != "" {
				t.Errorf("version %s, %d live: %s", version, live, diff)
			}
		}
	}
}

// TestVersionThatIsNotKnown wants a version that the script does not have to stop the run, and not to fail it.
func TestVersionThatIsNotKnown(t *testing.T) {
	p := newPlay[any](t, nil, nil)
	p.decider = newVersioned(t, 1, "2", "1").Decider.(polity.Forgetter)
	p.open()
	p.line("may 1")
	f := failure(t, func() []polity.Command { return p.line(`fetch "page"`) })
	if f == nil || f.Kind != fault.Diverged || !strings.Contains(f.Text, `Since("3"): the script's versions are 1, 2; name it in Config.Older`) {
		t.Errorf("it ended with %v", f)
	}
}

func TestVersionsThatAreRefused(t *testing.T) {
	for _, older := range [][]string{{"1", "1"}, {"2"}, {""}} {
		if _, err := script.New("fetcher", "2", versioned, script.Config{Older: older}); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", older, err)
		}
	}
}
