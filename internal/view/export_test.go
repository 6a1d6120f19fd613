package view

import (
	"strings"
	"testing"
)

// Content is everything that a view holds but where it stands: a line each row, and the words of the full-text index by their places.
func Content(t testing.TB, v *View) []string {
	t.Helper()
	conn, done, err := v.store.snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := done(); err != nil {
			t.Error(err)
		}
	}()
	var all []string
	dump := func(name, query string) {
		c, err := openCursor(t.Context(), conn, query)
		if err != nil {
			t.Fatal(err)
		}
		defer c.rows.Close()
		for {
			more, err := c.next(nil)
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				return
			}
			all = append(all, name+"|"+strings.Join(c.line(), "|")+"|")
		}
	}
	for _, one := range rowsOf {
		dump(one.table, "SELECT * FROM "+one.table+" ORDER BY "+one.order)
	}
	if places := v.store.words().places; places != "" {
		dump("word", places)
	}
	dump("numbers", "SELECT runs, steps, texts, told FROM position")
	return all
}
