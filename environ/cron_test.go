package environ

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run/fault"
)

// TestCronNext has what follows after a time in a zone, as its clocks show it.
func TestCronNext(t *testing.T) {
	const shown = "Mon 2006-01-02 15:04 -0700"
	tests := map[string]struct {
		text, zone, after string
		want              []string
	}{
		"each minute":        {"* * * * *", "", "Wed 2025-12-31 23:58 +0000", []string{"Wed 2025-12-31 23:59 +0000", "Thu 2026-01-01 00:00 +0000"}},
		"working days":       {"0 9 * * 1-5", "Europe/Berlin", "Thu 2026-11-26 09:00 +0100", []string{"Fri 2026-11-27 09:00 +0100", "Mon 2026-11-30 09:00 +0100"}},
		"names":              {"30 8 * feb,APR fri-Sun", "", "Fri 2026-02-27 08:30 +0000", []string{"Sat 2026-02-28 08:30 +0000", "Fri 2026-04-03 08:30 +0000"}},
		"Sunday is 0 and 7":  {"0 0 * * 7", "", "Thu 2026-11-26 00:00 +0000", []string{"Sun 2026-11-29 00:00 +0000"}},
		"steps":              {"5-59/20 */12 1 * *", "", "Thu 2026-11-26 00:00 +0000", []string{"Tue 2026-12-01 00:05 +0000", "Tue 2026-12-01 00:25 +0000", "Tue 2026-12-01 00:45 +0000", "Tue 2026-12-01 12:05 +0000"}},
		"one day is enough":  {"0 0 13 * fri", "", "Thu 2026-11-12 01:00 +0000", []string{"Fri 2026-11-13 00:00 +0000", "Fri 2026-11-20 00:00 +0000", "Fri 2026-11-27 00:00 +0000", "Fri 2026-12-04 00:00 +0000", "Fri 2026-12-11 00:00 +0000", "Sun 2026-12-13 00:00 +0000"}},
		"both days":          {"0 0 */12 * fri", "", "Thu 2026-11-26 00:00 +0000", []string{"Fri 2026-12-25 00:00 +0000", "Fri 2027-01-01 00:00 +0000"}},
		"leap years":         {"0 0 29 2 *", "", "Thu 2096-03-01 00:00 +0000", []string{"Fri 2104-02-29 00:00 +0000"}},
		"31st":               {"0 0 31 * *", "", "Thu 2026-11-26 00:00 +0000", []string{"Thu 2026-12-31 00:00 +0000", "Sun 2027-01-31 00:00 +0000", "Wed 2027-03-31 00:00 +0000"}},
		"left out: moved":    {"30 2 * * *", "Europe/Berlin", "Sat 2026-03-28 02:30 +0100", []string{"Sun 2026-03-29 03:00 +0200", "Mon 2026-03-30 02:30 +0200"}},
		"left out: once":     {"*/20 2-3 * * *", "Europe/Berlin", "Sat 2026-03-28 03:40 +0100", []string{"Sun 2026-03-29 03:00 +0200", "Sun 2026-03-29 03:20 +0200"}},
		"twice: the first":   {"30 2 * * *", "Europe/Berlin", "Sat 2026-10-24 02:30 +0200", []string{"Sun 2026-10-25 02:30 +0200", "Mon 2026-10-26 02:30 +0100"}},
		"in the second hour": {"30 2,3 * * *", "Europe/Berlin", "Sun 2026-10-25 02:10 +0100", []string{"Sun 2026-10-25 03:30 +0100"}},
		"half an hour":       {"15 2 * * *", "Australia/Lord_Howe", "Sat 2026-10-03 02:15 +1030", []string{"Sun 2026-10-04 02:30 +1100", "Mon 2026-10-05 02:15 +1100"}},
		"no midnight":        {"0 0 * * *", "America/Sao_Paulo", "Sat 2018-11-03 00:00 -0300", []string{"Sun 2018-11-04 01:00 -0200", "Mon 2018-11-05 00:00 -0200"}},
		"no such day":        {"0 12 * * *", "Pacific/Apia", "Thu 2011-12-29 12:00 -1000", []string{"Sat 2011-12-31 00:00 +1400", "Sat 2011-12-31 12:00 +1400"}},
		"a day with a gap":   {"0 3 * * *", "America/New_York", "Sat 2026-03-07 03:00 -0500", []string{"Sun 2026-03-08 03:00 -0400"}},
		"a date or a Sunday": {"0 0 29 2 sun", "", "Mon 2096-01-02 00:00 +0000", []string{"Sun 2096-02-05 00:00 +0000"}},
		"very seldom":        {"0 0 29 2 */7", "", "Mon 2088-03-01 00:00 +0000", []string{"Sun 2128-02-29 00:00 +0000"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := parseCron(tt.text, tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(shown, tt.after)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for range tt.want {
				before := at
				at = c.next(at)
				got = append(got, at.In(c.in).Format(shown))
				if last := c.last(at); !last.Equal(at) || c.last(at.Add(-1)).After(before) {
					t.Errorf("%s is followed by %s, before which is %s, and which is %s itself", before, at, c.last(at.Add(-1)), last)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestCronMatchesItsFields compares a year of some calendars, in UTC, with a look at each minute.
func TestCronMatchesItsFields(t *testing.T) {
	for _, text := range []string{"*/7 3,4 * * *", "59 23 28-31 * *", "0 0 1 */3 mon", "1 1 */5 2-11/2 tue-thu", "30 6 * jan sun"} {
		c, err := parseCron(text, "")
		if err != nil {
			t.Fatal(err)
		}
		at, end := time.Date(2027, 12, 31, 23, 59, 0, 0, time.UTC), time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC)
		next := c.next(at)
		for m := at.Add(time.Minute); m.Before(end); m = m.Add(time.Minute) {
			is := has(c.minutes, m.Minute()) && has(c.hours, m.Hour()) && c.matches(m)
			if is != m.Equal(next) {
				t.Fatalf("%s: %s matches: %t, and next is %s", text, m, is, next)
			}
			if is {
				next = c.next(m)
			}
		}
	}
}

func TestBadCron(t *testing.T) {
	tests := map[string]struct{ text, zone, want string }{
		"four fields":  {"0 9 * *", "", "has 4 fields; want five"},
		"six fields":   {"0 0 9 * * *", "", "has 6 fields"},
		"nickname":     {"@daily", "", "has 1 fields"},
		"minute":       {"60 * * * *", "", `minute: "60": want 0 to 59`},
		"month":        {"0 0 1 13 *", "", "month: "},
		"name":         {"0 0 * * mo", "", `day of the week: "mo": want 0 to 7`},
		"backwards":    {"0 17-9 * * *", "", "ends before it begins"},
		"step of 0":    {"*/0 * * * *", "", "want a step of 1 to 59"},
		"step alone":   {"5/10 * * * *", "", "5-59/10"},
		"signs":        {"+5 * * * *", "", "minute"},
		"empty":        {"1,,2 * * * *", "", "minute"},
		"never":        {"0 0 31 2,4 *", "", "never comes"},
		"zone":         {"0 0 * * *", "Europe/Brelin", `no zone "Europe/Brelin"`},
		"local zone":   {"0 0 * * *", "Local", "another one on each machine"},
		"path of zone": {"0 0 * * *", "../etc/passwd", "no zone"},
		"long":         {strings.Repeat("1,", 200) + "1 * * * *", "", "longer than"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := CheckCron(tt.text, tt.zone)
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestCronSchedule lets days pass: the clocks of New York go forward on the second.
func TestCronSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Date(2000, 4, 1, 12, 0, 0, 0, time.UTC)
		time.Sleep(time.Until(start)) // the bubble begins at midnight of 2000-01-01
		var cron, all, none, old seen
		daily := Schedule{Cron: "30 2 * * *", Zone: "America/New_York"}
		background(t, open(t, daily), cron.emit)
		since := func(days int) Schedule {
			s := daily
			s.CatchUp, s.Since = CatchUpAll, func(now time.Time) (time.Time, error) { return now.AddDate(0, 0, -days), nil }
			return s
		}
		for s, to := range map[*seen]Schedule{&all: since(3), &none: since(0), &old: since(1000)} {
			if err := open(t, to).Once(t.Context(), s.emit); err != nil {
				t.Error(err)
			}
		}
		want(t, "made up for", all.take(t, "planned"), "2000-03-30T07:30:00Z", "2000-03-31T07:30:00Z", "2000-04-01T07:30:00Z")
		want(t, "begun just now", none.take(t, "planned"))
		if got := len(old.list); got != CatchUpMax {
			t.Errorf("%d are made up for, want %d", got, CatchUpMax)
		}
		pass(48 * time.Hour)
		want(t, "two days later", cron.take(t, "planned"), "2000-04-02T07:00:00Z", "2000-04-03T06:30:00Z")
	})
}

// What is refused on the way is not lost: the next run begins with it.
func TestWhatIsMadeUpForIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		s := seen{refuse: broken}
		source := open(t, Schedule{Every: time.Hour, CatchUp: CatchUpAll, Since: func(now time.Time) (time.Time, error) { return now.Add(-3 * time.Hour), nil }})
		if err := source.Once(t.Context(), s.emit); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		s.refuse = nil
		for range 2 {
			if err := source.Once(t.Context(), s.emit); err != nil {
				t.Error(err)
			}
		}
		want(t, "made up for", s.take(t, "planned"), "1999-12-31T22:00:00Z", "1999-12-31T23:00:00Z", "2000-01-01T00:00:00Z")
	})
}

// Whatever is accepted plans times that go forward.
func FuzzCron(f *testing.F) {
	f.Add("0 9 * * 1-5", "Europe/Berlin", int64(1774746000))
	f.Add("*/7 1-3,5 29-31 feb-MAR sun", "America/New_York", int64(0))
	f.Add("0 0 31 2 *", "", int64(1))
	f.Add("5/5 -1 1- , *", "x", int64(1))
	f.Fuzz(func(t *testing.T, text, zone string, unix int64) {
		c, err := parseCron(text, zone)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		at := time.Unix(unix%(1<<33), 0)
		next := c.next(at)
		if !next.After(at) || !c.last(next).Equal(next) || c.last(next.Add(-1)).After(at) {
			t.Fatalf("%q %q: after %s comes %s, before which is %s", text, zone, at, next, c.last(next.Add(-1)))
		}
	})
}
