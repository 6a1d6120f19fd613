package environ

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"polity.run/fault"
)

const (
	cronTextMax = 256 // bytes of an expression
	// cronDays is how many days are looked at for a planned time: the 29th of February is at most eight years away, and on one day of the
	// week at most forty.
	cronDays = 41 * 366
)

// cron is a calendar: the minutes that match five fields, in a zone.
//
//	minute 0-59, hour 0-23, day of the month 1-31, month 1-12 or jan-dec, day of the week 0-7 or sun-sat (0 and 7 are Sunday)
//
// A field is *, a number, a range a-b, either of * and a range with a step as in */15, or several of them with commas. If both
// days are restricted (neither begins with *), one of them is enough.
//
// A minute that the zone leaves out, when its clocks go forward, is moved to the moment after the gap. One that it has twice, when they go
// back, counts once, the first time.
type cron struct {
	text, zone                        string
	minutes, hours, days, months, dow uint64 // bits
	both                              bool   // both kinds of day must match
	in                                *time.Location
}

// CheckCron says whether a Schedule with this Cron and Zone can be opened.
func CheckCron(text, zone string) error {
	_, err := parseCron(text, zone)
	return err
}

// cronField is what may stand in a field.
type cronField struct {
	name        string
	least, most int
	names       []string // from least on
}

func cronFields() [5]cronField {
	return [5]cronField{
		{"minute", 0, 59, nil}, {"hour", 0, 23, nil}, {"day of the month", 1, 31, nil},
		{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
		{"day of the week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
	}
}

func parseCron(text, zone string) (*cron, error) {
	if len(text) > cronTextMax {
		return nil, fault.Invalid.New("cron: the expression is longer than %d bytes", cronTextMax)
	}
	words := strings.Fields(text)
	if len(words) != 5 {
		return nil, fault.Invalid.New("cron: %q has %d fields; want five: minute, hour, day of the month, month, day of the week", text, len(words))
	}
	if zone == "Local" {
		return nil, fault.Invalid.New("cron: zone Local is another one on each machine; name it, as in Europe/Berlin")
	}
	in, err := time.LoadLocation(zone) // "" is UTC
	if err != nil {
		return nil, fault.Invalid.New("cron: there is no zone %q; write it as in Europe/Berlin", zone)
	}
	var sets [5]uint64
	for i, f := range cronFields() {
		if sets[i], err = f.parse(strings.ToLower(words[i])); err != nil {
			return nil, fault.Invalid.New("cron: %s: %w", f.name, err)
		}
	}
	c := &cron{
		text: strings.Join(words, " "), zone: in.String(), minutes: sets[0], hours: sets[1], days: sets[2], months: sets[3],
		dow: sets[4] | sets[4]>>7&1, in: in, both: words[2][0] == '*' || words[4][0] == '*',
	}
	if !c.possible() {
		return nil, fault.Invalid.New("cron: %q never comes: no month of it has such a day", text)
	}
	return c, nil
}

// possible says whether some month has some day of c.
func (c *cron) possible() bool {
	if !c.both {
		return true // a day of the week always comes
	}
	for m := time.January; m <= time.December; m++ {
		last := time.Date(2000, m+1, 0, 0, 0, 0, 0, time.UTC).Day() // of a leap year
		if has(c.months, int(m)) && c.days&(1<<(last+1)-1) != 0 {
			return true
		}
	}
	return false
}

func has(set uint64, n int) bool { return set>>n&1 == 1 }

// parse reads a field into bits.
func (f cronField) parse(text string) (uint64, error) {
	var set uint64
	for part := range strings.SplitSeq(text, ",") {
		span, by, stepped := strings.Cut(part, "/")
		from, to, ranged := strings.Cut(span, "-")
		least, most := f.least, f.most
		var err error
		switch {
		case span == "*":
		case ranged:
			if least, err = f.value(from); err == nil {
				most, err = f.value(to)
			}
			if most == 0 && f.most == 7 { // a range of days may end with Sunday
				most = 7
			}
			if err == nil && least > most {
				err = fault.Invalid.New("%q ends before it begins", span)
			}
		case stepped:
			err = fault.Invalid.New("%q: a step needs a range, as in %s-%d/%s, or */%s", part, span, f.most, by, by)
		default:
			least, err = f.value(span)
			most = least
		}
		if err != nil {
			return 0, err
		}
		step := 1
		if stepped {
			if step, err = number(by); err != nil || step < 1 || step > f.most {
				return 0, fault.Invalid.New("%q: want a step of 1 to %d", part, f.most)
			}
		}
		for n := least; n <= most; n += step {
			set |= 1 << n
		}
	}
	return set, nil
}

// value reads a number or a name.
func (f cronField) value(text string) (int, error) {
	if i := slices.Index(f.names, text); i >= 0 {
		return f.least + i, nil
	}
	n, err := number(text)
	if err != nil || n < f.least || n > f.most {
		return 0, fault.Invalid.New("%q: want %d to %d", text, f.least, f.most)
	}
	return n, nil
}

// number reads one or two digits, and nothing else.
func number(text string) (int, error) {
	if len(text) > 2 || strings.ContainsAny(text, "+-") {
		return 0, fault.Invalid.New("%q is no number", text)
	}
	return strconv.Atoi(text)
}

// matches says whether a day, whose clock is of no interest, is one of c.
func (c *cron) matches(day time.Time) bool {
	month, week := has(c.days, day.Day()), has(c.dow, int(day.Weekday()))
	return has(c.months, int(day.Month())) && (c.both && month && week || !c.both && (month || week))
}

// next is the first planned time after t; zero if none comes.
func (c *cron) next(t time.Time) time.Time {
	day := civil(t.In(c.in)).AddDate(0, 0, -1) // of which a time may have been moved
	for range cronDays {
		for _, at := range c.of(day) {
			if at.After(t) {
				return at
			}
		}
		day = day.AddDate(0, 0, 1)
	}
	return time.Time{}
}

// last is the last planned time that is not after t; zero if there was none.
func (c *cron) last(t time.Time) time.Time {
	day := civil(t.In(c.in)).AddDate(0, 0, 1)
	for range cronDays {
		for _, at := range slices.Backward(c.of(day)) {
			if !at.After(t) {
				return at
			}
		}
		day = day.AddDate(0, 0, -1)
	}
	return time.Time{}
}

// civil is the day of a time, as midnight in UTC: there each day has 24 hours.
func civil(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

// of are the planned times of a day, in their order, each once.
func (c *cron) of(day time.Time) []time.Time {
	if !c.matches(day) {
		return nil
	}
	var list []time.Time
	for h := range 24 {
		for m := 0; has(c.hours, h) && m < 60; m++ {
			if !has(c.minutes, m) {
				continue
			}
			at := c.moment(day.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute))
			if len(list) == 0 || at.After(list[len(list)-1]) {
				list = append(list, at)
			}
		}
	}
	return list
}

// moment is when the zone's clocks show what a time in UTC shows: the first time of two, and the moment after the gap if they never do.
// Between two days there is at most one change of the clocks.
func (c *cron) moment(shown time.Time) time.Time {
	before := shown.Add(-offset(shown.Add(-24*time.Hour), c.in))
	after := shown.Add(-offset(shown.Add(24*time.Hour), c.in))
	first, second := before, after
	if after.Before(before) {
		first, second = after, before
	}
	for _, at := range []time.Time{first, second} {
		if at.Add(offset(at, c.in)).Equal(shown) {
			return at
		}
	}
	start, _ := before.In(c.in).ZoneBounds()
	return start.UTC()
}

func offset(t time.Time, in *time.Location) time.Duration {
	_, seconds := t.In(in).Zone()
	return time.Duration(seconds) * time.Second
}

func (c *cron) name() string {
	if c.in == time.UTC {
		return "cron " + c.text
	}
	return "cron " + c.text + " " + c.zone
}
