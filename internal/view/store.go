package view

import (
	"context"
	"database/sql"
)

// store is the database that a view lies in: a file of SQLite's, or a schema of a PostgreSQL server. Both have the same tables.
type store interface {
	// session connects to write, and makes the tables where there are none. There is one at a time. It returns fault.Damaged for what is no
	// view, is not whole or is of another version: drop it then; fault.Unavailable if the database cannot be reached, and fault.Conflict if
	// somebody else writes to it, or has tables of those names.
	// pause is called again and again while it writes.
	session(ctx context.Context, pause func()) (session, error)
	// reader is what questions are asked of. It is not the same after drop.
	reader() *sql.DB
	words() *dialect
	// drop throws the view away. There is no session and nobody reads.
	drop(ctx context.Context) error
	// check looks for damage that reading rows does not show. It returns fault.NotFound if there is no view.
	check(ctx context.Context) error
	// snapshot begins to read the view as it is now, whatever is written meanwhile. done ends it.
	snapshot(ctx context.Context) (conn *sql.Conn, done func() error, err error)
	// beside is a store of the same kind for a second view, which drop removes.
	beside(ctx context.Context) (store, error)
	// sync returns when what was written survives a power cut.
	sync(ctx context.Context) error
	fault(err error) error // gives an error of the database its kind; nil for nil
	size() int64           // in bytes, as it was lately
	place() string         // where it is, for people
	close() error
}

// session writes to a store. Its methods are for one goroutine.
type session interface {
	// one asks for one row. It returns sql.ErrNoRows if there is none.
	one(text string, args []any, into ...any) error
	begin() error
	put(text string, args ...any) error      // a statement; it is done at commit at the latest
	insert(table string, rows [][]any) error // into all columns of a table
	insertTexts(texts []textRow) error       // with their words
	commit() error
	rollback() error
	close() error
}

// dialect is where the two do not speak the same.
type dialect struct {
	list     string                   // the texts of a JSON list, as what IN looks in
	words    string                   // the condition that a text t has a phrase
	phrase   func(text string) string // how a phrase is written
	and, not string                   // between phrases
	// Texts are searched in these tables, by this condition, which is given phrases; num is a text's number.
	texts, match, num string
	index             string                    // how a query names the index to use, before its name; "" for not at all
	number            func(query string) string // writes placeholders, which are question marks
	objects           string                    // asks for the names of tables and indexes, in order
	places            string                    // asks for the words of a snapshot with their places, where they are not in the texts' rows; "" if they are
}
