package filter

import (
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// whole reads a whole number, as in 1000, 10k or 2m.
func whole(text string) (int64, string) {
	const want = "want a whole number, as in 1000, 10k or 2m"
	digits, unit := text, int64(1)
	if n := len(text) - 1; n > 0 {
		if u, ok := map[byte]int64{'k': 1e3, 'm': 1e6, 'g': 1e9}[text[n]]; ok {
			digits, unit = text[:n], u
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > math.MaxInt64/unit || n < math.MinInt64/unit {
		return 0, want
	}
	return n * unit, ""
}

// money reads dollars, as in 0.5, $2 or 12.000001.
func money(text string) (int64, string) {
	const want = "want US dollars, as in 0.5, with at most six digits after the point"
	units, part, _ := strings.Cut(strings.TrimPrefix(text, "$"), ".")
	if len(part) > 6 || units == "" && part == "" || strings.ContainsAny(units+part, "+-_") {
		return 0, want
	}
	n, err := strconv.ParseInt("0"+units+part+strings.Repeat("0", 6-len(part)), 10, 64)
	if err != nil {
		return 0, want
	}
	return n, ""
}

// span reads a duration: Go's, and whole days before it.
func span(text string) (int64, string) {
	const want = "want a duration, as in 500ms, 90s, 1h30m or 2d"
	days, rest, ok := strings.Cut(text, "d")
	if !ok {
		days, rest = "0", text
	}
	n, err := strconv.ParseUint(days, 10, 64)
	if err != nil || n > uint64(math.MaxInt64/day)-1 {
		return 0, want
	}
	var d time.Duration
	if rest != "" {
		if d, err = time.ParseDuration(rest); err != nil || d < 0 {
			return 0, want
		}
	}
	if d > math.MaxInt64-time.Duration(n)*day {
		return 0, want
	}
	return int64(time.Duration(n)*day + d), ""
}

// moment reads a time.
func (p *parser) moment(text string) (int64, string) {
	const want = "want a time: -1h or -7d from now, a day as in 2026-11-25, or RFC 3339 as in 2026-11-25T08:00:00Z"
	if text == "now" {
		return p.now.UnixNano(), ""
	}
	if ago, ok := strings.CutPrefix(text, "-"); ok {
		d, why := span(ago)
		if why != "" {
			return 0, want
		}
		return p.now.Add(-time.Duration(d)).UnixNano(), ""
	}
	for _, layout := range [...]string{time.DateOnly, time.RFC3339, "2006-01-02T15:04"} {
		t, err := time.ParseInLocation(layout, text, p.now.Location())
		if err == nil && t.Year() >= 1970 && t.Year() < 2262 {
			return t.UnixNano(), ""
		}
	}
	return 0, want
}
