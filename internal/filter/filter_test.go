package filter

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"polity.run/fault"
)

var (
	fields = []Field{
		{Name: "agent"}, {Name: "status", Kind: Choice, Choices: []string{"running", "failed", "cancelled"}}, {Name: "tokens", Kind: Number},
		{Name: "cost", Kind: Money}, {Name: "took", Kind: Span}, {Name: "started", Kind: Moment},
	}
	now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
)

// text is a filter as a test compares it: each term with its numbers.
func text(f Filter) string {
	var terms []string
	for _, t := range f.Terms {
		s := t.Field + " " + string(t.Op)
		if t.Negated {
			s = "not " + s
		}
		for _, v := range t.Values {
			s += fmt.Sprintf(" %q", v.Text)
			if v.Prefix {
				s += "*"
			}
			if v.Number != 0 {
				s += fmt.Sprintf("=%d", v.Number)
			}
		}
		terms = append(terms, s)
	}
	return strings.Join(terms, "; ")
}

func TestParse(t *testing.T) {
	tests := map[string]string{
		"": "",
		`status:failed agent:reviewer cost>0.5 tokens>=1000 "two words" -status:cancelled`: `status : "failed"=1; agent : "reviewer"; ` +
			`cost > "0.5"=500000; tokens >= "1000"=1000;  has "two words"; not status : "cancelled"=2`,
		"agent:a,b,c*":                       `agent : "a" "b" "c"*`,
		`agent:"a b",c`:                      `agent : "a b" "c"`,
		`agent:"a*"`:                         `agent : "a*"`,
		`agent:"a"*`:                         `agent : "a"*`,
		"agent=x agent!=y":                   `agent : "x"; agent != "y"`,
		"refund -late":                       ` has "refund"; not  has "late"`,
		`"say \"hi\" \\ there"`:              ` has "say \"hi\" \\ there"`,
		"tokens>2k cost<$2":                  `tokens > "2k"=2000; cost < "$2"=2000000`,
		"cost:.000001":                       `cost : ".000001"=1`,
		"took>1d2h took<90s":                 `took > "1d2h"=93600000000000; took < "90s"=90000000000`,
		"started>-1h":                        fmt.Sprintf(`started > "-1h"=%d`, now.Add(-time.Hour).UnixNano()),
		"started>2026-11-25":                 fmt.Sprintf(`started > "2026-11-25"=%d`, now.Add(-36*time.Hour).UnixNano()),
		"started<=2026-11-26T13:00:00+01:00": fmt.Sprintf(`started <= "2026-11-26T13:00:00+01:00"=%d`, now.UnixNano()),
		"a.b c-d 12:30":                      ` has "a.b";  has "c-d";  has "12:30"`,
		"größe":                              ` has "größe"`,
	}
	for query, want := range tests {
		f, err := Parse(query, fields, now)
		if err != nil || text(f) != want {
			t.Errorf("%s\n got %s %v\nwant %s", query, text(f), err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]string{
		"ok stauts:failed":                     `at character 4: no field "stauts"; did you mean "status"?`,
		"Status:failed":                        `at character 1: no field "Status"; did you mean "status"?`,
		"zzzzzz:1":                             `no field "zzzzzz"; there are: agent, status, tokens, cost, took, started`,
		"status:faild":                         `at character 8: status: "faild": it is none of them; did you mean "failed"?`,
		"status>failed":                        `status is not compared with >: write status:VALUE`,
		"tokens:x":                             `tokens: "x": want a whole number`,
		"tokens>1,2":                           `tokens> takes one value`,
		"tokens>9999999999999g":                `want a whole number`,
		"cost>0.1234567":                       `want US dollars`,
		"cost>-1":                              `want US dollars`,
		"started>yesterday":                    `want a time`,
		"took>-5s":                             `want a duration`,
		"agent:":                               `a value of agent is missing`,
		"agent:a,":                             `a value of agent is missing`,
		`"open`:                                `at character 1: the quote is not closed`,
		"größe -":                              `at character 7: a word is missing`,
		strings.Repeat("a ", 33):               `more than 32 terms`,
		"agent:a" + strings.Repeat(",a", 64):   `more than 64 values`,
		strings.Repeat("a", QueryMax+1):        `the most is 4096`,
		"\xff":                                 `not UTF-8`,
		"started>2999-01-01":                   `want a time`,
		"took>99999999999999999999d":           `want a duration`,
		`status:failed'); DROP TABLE runs; --`: `status: "failed');"`,
		"agent:a started>2026-11-25T08:00:00Z100": `want a time`,
	}
	for query, want := range tests {
		_, err := Parse(query, fields, now)
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s\n got %v\nwant %s", query, err, want)
		}
	}
}

// FuzzParse wants what is understood to be written and understood again as the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`status:failed,running agent:"a b"* cost>0.5 -"x \" y" started>-1h took<2d`, `agent:a* b`, `"`, "-", "a:b", "agent:\"*\"*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		one, err := Parse(query, fields, now)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("%q: %v", query, err)
			}
			return
		}
		two, err := Parse(one.String(), fields, now)
		if len(one.String()) > QueryMax {
			return // quotes made it longer
		}
		if err != nil || !reflect.DeepEqual(one, two) {
			t.Fatalf("%q is written %q, which is %+v and not %+v: %v", query, one.String(), two, one, err)
		}
	})
}
