package view

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
)

// Content is everything that a view holds but where it stands: a line each row, and the words of the full-text index by their places.
func Content(t testing.TB, v *View) []string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+v.path())
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	defer db.Close()
	var all []string
	for _, table := range []string{"releases", "runs", "steps", "texts", "used", "ended"} {
		all = append(all, dump(t, db, "SELECT '"+table+"', * FROM "+table)...)
	}
	if _, err := db.Exec("CREATE VIRTUAL TABLE IF NOT EXISTS temp.places USING fts5vocab(main, words, instance)"); err != nil {
		t.Fatal(err)
	}
	all = append(all, dump(t, db, "SELECT 'word', * FROM temp.places")...)
	return append(all, dump(t, db, "SELECT 'numbers', runs, steps, texts FROM position")...)
}

func dump(t testing.TB, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for rows.Next() {
		values := make([]any, len(names))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, v := range values {
			fmt.Fprintf(&b, "%v|", *v.(*any))
		}
		all = append(all, b.String())
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
