package view

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWords wants the words that PostgreSQL is given to be those that SQLite's tokenizer takes, and at the same places.
func TestWords(t *testing.T) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(fileWords + "CREATE VIRTUAL TABLE places USING fts5vocab(words, instance)"); err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{
		"A refund of 12 € was \"promised\"", "out-of-stock: no.17/b, x_y", "Größe CRÈME brûlée cafe\u0301 ñandú", "Ærø Œuvre straße ﬁ",
		"ΑΘΗΝΑ Москва йод ёж", "日本語 テスト 한국어", "١٢٣ Ⅷ ½ x²", "http://example.com/a?b=c user@host.org -5 1.5e3", "emoji 😀 between", "", "--", "a'b''c \\ x\x00y",
		"İstanbul ıssız", "Ａｂｃ", "ṩ ệ ǖ", "Ελλάς ΰ", "हिन्दी ไทย עִבְרִית عَرَبِيّ", "и\u0306", "a\u0301\u0323 \u0301x",
	} {
		if _, err := db.Exec("INSERT INTO words (rowid, text) VALUES (?, ?)", i+1, text); err != nil {
			t.Fatal(err)
		}
		rows, err := db.Query("SELECT term FROM places WHERE doc = ? ORDER BY offset", i+1)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{}
		for rows.Next() {
			var word string
			if err := rows.Scan(&word); err != nil {
				t.Fatal(err)
			}
			want = append(want, word)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, append([]string{}, words(text)...)); d != "" {
			t.Errorf("%q (-sqlite +ours) %s", text, d)
		}
	}
}

// TestLexemes wants a long text to keep all its words, with as many places as PostgreSQL has room for.
func TestLexemes(t *testing.T) {
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, "w%d same ", i)
	}
	v := lexemes(b.String() + strings.Repeat("x", 5000))
	if len(v.Lexemes) != 20_002 {
		t.Fatalf("%d words", len(v.Lexemes))
	}
	for _, l := range v.Lexemes {
		if len(l.Positions) > placesOfOne || len(l.Word) > wordMax || len(l.Positions) > 0 && l.Positions[len(l.Positions)-1].Position > placeMax {
			t.Fatalf("%.20s: %d bytes, %d places", l.Word, len(l.Word), len(l.Positions))
		}
	}
}
