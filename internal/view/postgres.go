package view

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"

	"polity.run/fault"
)

const (
	idFile      = "id" // names the schema of a node that was given none
	connectMax  = 5 * time.Second
	serverSize  = 10 * time.Second // how old the size that is shown may be
	lockMax     = "2s"             // for who wrote before to let go
	spareSuffix = "_check"
	mark        = "polity_view" // a table that holds the version, and says that the other tables are ours
)

// server is a store in a schema of a PostgreSQL server.
type server struct {
	config *pgx.ConnConfig
	schema string
	read   *sql.DB

	bytes   atomic.Int64
	sizedAt time.Time // of a session
}

// openServer understands a DSN, and connects to nothing yet. The schema is what the DSN says with search_path, or one of the node's own, whose name is
// kept in its folder.
func openServer(dsn, dir string) (*server, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fault.Invalid.New("view: %w; want postgres://USER@HOST/DATABASE", err)
	}
	schema := config.RuntimeParams["search_path"]
	if schema == "" {
		id, err := nodeID(filepath.Join(dir, idFile))
		if err != nil {
			return nil, err
		}
		schema = "polity_" + id
	}
	if strings.ContainsAny(schema, `,"$ `) || len(schema) > 50 {
		return nil, fault.Invalid.New("view: search_path %q: want the name of one schema, of at most 50 letters, digits and '_'", schema)
	}
	return newServer(config, schema), nil
}

func newServer(config *pgx.ConnConfig, schema string) *server {
	config = config.Copy()
	config.ConnectTimeout = cmp.Or(config.ConnectTimeout, connectMax)
	config.RuntimeParams["search_path"] = schema
	config.RuntimeParams["application_name"] = cmp.Or(config.RuntimeParams["application_name"], "polity")
	s := &server{config: config, schema: schema}
	s.connect()
	return s
}

// connect makes the pool for questions, which connects when it is asked.
func (s *server) connect() {
	config := s.config.Copy()
	config.RuntimeParams["default_transaction_read_only"] = "on"
	s.read = stdlib.OpenDB(*config)
	s.read.SetMaxOpenConns(readersMax)
	s.read.SetMaxIdleConns(readersMax)
}

// nodeID is the name of a node, which is made up the first time.
func nodeID(path string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		data = make([]byte, 8)
		_, _ = rand.Read(data) // it never fails
		data = []byte(hex.EncodeToString(data))
		err = os.WriteFile(path, append(data, '\n'), 0o600)
	}
	if err != nil {
		return "", fault.Denied.New("view: %w", err)
	}
	id := strings.TrimSpace(string(data))
	if b, err := hex.DecodeString(id); err != nil || len(b) != 8 {
		return "", fault.Damaged.New("view: %s holds %.40q and no name; delete it", path, id)
	}
	return id, nil
}

func (s *server) reader() *sql.DB { return s.read }

func (s *server) size() int64 { return s.bytes.Load() }

func (s *server) place() string {
	return fmt.Sprintf("schema %s of PostgreSQL database %s on %s", s.schema, s.config.Database, s.config.Host)
}

func (s *server) close() error {
	if s.read == nil {
		return nil
	}
	err := s.read.Close()
	s.read = nil
	return err
}

func (s *server) beside(ctx context.Context) (store, error) {
	spare := newServer(s.config, s.schema+spareSuffix)
	if err := spare.drop(ctx); err != nil { // what an earlier one left behind
		return nil, err
	}
	return &spareServer{spare}, nil
}

// spareServer is a schema that goes with its tables.
type spareServer struct{ *server }

func (s *spareServer) drop(ctx context.Context) error {
	if err := s.server.drop(ctx); err != nil {
		return err
	}
	return s.each(ctx, "DROP SCHEMA IF EXISTS "+pgx.Identifier{s.schema}.Sanitize())
}

// each connects and runs statements.
func (s *server) each(ctx context.Context, statements ...string) error {
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return s.fault(err)
	}
	for _, text := range statements {
		if err == nil {
			_, err = conn.Exec(ctx, text)
		}
	}
	return errors.Join(s.fault(err), s.fault(conn.Close(ctx)))
}

func (s *server) session(ctx context.Context, _ func()) (session, error) {
	if s.read == nil {
		s.connect()
	}
	config := s.config.Copy()
	config.RuntimeParams["lock_timeout"] = lockMax
	config.RuntimeParams["synchronous_commit"] = "off" // what a crash of the server loses is read from the log again
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, s.fault(err)
	}
	one := &serverSession{s: s, conn: conn, ctx: context.WithoutCancel(ctx)}
	if err := s.ensure(ctx, conn); err != nil {
		return nil, errors.Join(err, s.fault(one.close()))
	}
	return one, nil
}

// ensure takes the schema, and makes the tables if there are none.
func (s *server) ensure(ctx context.Context, conn *pgx.Conn) error {
	sum := sha256.Sum256([]byte(s.schema))
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(binary.BigEndian.Uint64(sum[:]))); isCode(err, "55P03") {
		return fault.Conflict.New("view: another node writes to %s; give each its own with search_path in the DSN", s.place())
	} else if err != nil {
		return s.fault(err)
	}
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", s.schema).Scan(&there); err != nil {
		return s.fault(err)
	}
	if !there {
		if _, err := conn.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{s.schema}.Sanitize()); err != nil {
			return s.fault(err)
		}
	}
	tables, err := s.tables(ctx, conn)
	if err != nil {
		return err
	}
	switch {
	case len(tables) == 0:
		return s.create(ctx, conn)
	case !slices.Contains(tables, mark):
		return fault.Conflict.New("view: %s has a table %s that is no view's; name another schema with search_path in the DSN", s.place(), tables[0])
	}
	var version int
	if err := conn.QueryRow(ctx, "SELECT version FROM "+mark).Scan(&version); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return s.fault(err)
	}
	if version != Schema {
		return fault.Damaged.New("%w: %s is of version %d, and this program makes %d", errOther, s.place(), version, Schema)
	}
	return nil
}

// tables are those of the schema that are a view's, or have such a name.
func (s *server) tables(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	names := []string{mark, "position"}
	for _, t := range rowsOf {
		names = append(names, t.table)
	}
	rows, err := conn.Query(ctx, "SELECT tablename FROM pg_tables WHERE schemaname = $1 AND tablename = ANY($2) ORDER BY 1", s.schema, names)
	if err != nil {
		return nil, s.fault(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return found, s.fault(err)
}

// serverTables are the tables in PostgreSQL's words. Texts are compared by their bytes, as SQLite does it.
func serverTables() string {
	return strings.NewReplacer(" INTEGER", " BIGINT", " TEXT", ` TEXT COLLATE "C"`, ") WITHOUT ROWID", ")").Replace(tables) +
		`ALTER TABLE texts ADD COLUMN words tsvector NOT NULL;
		CREATE INDEX texts_words ON texts USING gin (words);`
}

func (s *server) create(ctx context.Context, conn *pgx.Conn) error {
	text := fmt.Sprintf("BEGIN; %s CREATE TABLE %s AS SELECT %d::bigint AS version; COMMIT", serverTables(), mark, Schema)
	_, err := conn.Exec(ctx, text, pgx.QueryExecModeSimpleProtocol)
	return s.fault(err)
}

// drop removes the tables, if they are a view's. The schema stays: it may be all that the user may write to.
func (s *server) drop(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return s.fault(err)
	}
	found, err := s.tables(ctx, conn)
	if err == nil && slices.Contains(found, mark) {
		_, err = conn.Exec(ctx, "DROP TABLE "+strings.Join(found, ", ")+" CASCADE")
	}
	if err := errors.Join(s.fault(err), s.fault(conn.Close(ctx))); err != nil {
		return err
	}
	return s.fault(s.close()) // its connections know statements of the old tables
}

// check looks whether there is a view. The server checks its pages itself, if its cluster was made with checksums.
func (s *server) sync(ctx context.Context) error {
	return s.each(ctx, "SET synchronous_commit TO on", "UPDATE position SET seq = seq") // which takes along what was committed before
}

func (s *server) check(ctx context.Context) error {
	there, err := listOf(ctx, s.read, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1", mark)
	if err == nil && len(there) == 0 {
		return fault.NotFound.New("view: there is none in %s: it is made when it is first asked for", s.place())
	}
	return s.fault(err)
}

func (s *server) snapshot(ctx context.Context) (*sql.Conn, func() error, error) {
	conn, err := s.read.Conn(ctx)
	if err != nil {
		return nil, nil, s.fault(err)
	}
	if _, err := conn.ExecContext(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ"); err != nil {
		return nil, nil, errors.Join(s.fault(err), s.fault(conn.Close()))
	}
	return conn, func() error {
		_, err := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return s.fault(errors.Join(err, conn.Close()))
	}, nil
}

func isCode(err error, code string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == code
}

func (s *server) fault(err error) error {
	var e *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case isFault(err):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Timeout.New("view: %w", err)
	case errors.Is(err, context.Canceled):
		return fault.Cancelled.New("view: %w", err)
	case !errors.As(err, &e):
		return fault.Unavailable.New("view: %w", err)
	case e.Code == "42P01", strings.HasPrefix(e.Code, "XX"): // no such table, or damage
		return fault.Damaged.New("%w: %s", errOther, err)
	case strings.HasPrefix(e.Code, "53"):
		return fault.Full.New("view: %w", err)
	case strings.HasPrefix(e.Code, "28"), e.Code == "42501":
		return fault.Denied.New("view: %w", err)
	default:
		return fault.Unavailable.New("view: %w", err)
	}
}

func (s *server) words() *dialect { return serverDialect }

var serverDialect = &dialect{
	list:   "(SELECT json_array_elements_text(CAST(? AS json)))",
	words:  "t.words @@ CAST(? AS tsquery)",
	phrase: tsquery,
	and:    " & ",
	not:    " & !",
	texts:  "texts t JOIN runs r ON r.num = t.run",
	match:  "t.words @@ CAST(? AS tsquery)",
	num:    "t.num",
	objects: `SELECT 'index ' || indexname FROM pg_indexes WHERE schemaname = current_schema()
		UNION ALL SELECT 'table ' || tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1`,
	number: func(query string) string {
		var b strings.Builder
		n := 0
		for i := range len(query) {
			if query[i] != '?' {
				b.WriteByte(query[i])
				continue
			}
			n++
			b.WriteString("$" + strconv.Itoa(n))
		}
		return b.String()
	},
}

// serverSession writes a transaction in as few exchanges as there are tables. It is not interrupted.
type serverSession struct {
	s     *server
	ctx   context.Context
	conn  *pgx.Conn
	tx    pgx.Tx
	batch pgx.Batch // statements that were put since begin
}

func (s *serverSession) close() error { return s.conn.Close(s.ctx) }

func (s *serverSession) one(text string, args []any, into ...any) error {
	err := s.conn.QueryRow(s.ctx, serverDialect.number(text), storable(args)...).Scan(into...)
	if errors.Is(err, pgx.ErrNoRows) {
		return sql.ErrNoRows
	}
	return err
}

func (s *serverSession) begin() (err error) {
	s.tx, err = s.conn.Begin(s.ctx)
	return err
}

func (s *serverSession) put(text string, args ...any) error {
	s.batch.Queue(serverDialect.number(text), storable(args)...)
	return nil
}

func (s *serverSession) insert(table string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	names, err := s.columns(table)
	if err == nil {
		_, err = s.tx.CopyFrom(s.ctx, pgx.Identifier{table}, names, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) { return storable(rows[i]), nil }))
	}
	return err
}

// columns are the names of a table's columns, of which the statement is prepared once.
func (s *serverSession) columns(table string) ([]string, error) {
	text := "SELECT * FROM " + table + " LIMIT 0"
	d, err := s.conn.Prepare(s.ctx, text, text)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(d.Fields))
	for i, f := range d.Fields {
		names[i] = f.Name
	}
	return names, nil
}

func (s *serverSession) insertTexts(texts []textRow) error {
	rows := make([][]any, len(texts))
	for i := range texts {
		rows[i] = append(texts[i].columns(), lexemes(texts[i].text))
	}
	return s.insert("texts", rows)
}

func (s *serverSession) commit() error {
	if s.batch.Len() > 0 {
		err := s.tx.SendBatch(s.ctx, &s.batch).Close()
		s.batch = pgx.Batch{}
		if err != nil {
			return err
		}
	}
	if err := s.tx.Commit(s.ctx); err != nil {
		return err
	}
	if time.Since(s.s.sizedAt) < serverSize {
		return nil
	}
	s.s.sizedAt = time.Now()
	var n int64
	err := s.conn.QueryRow(s.ctx, "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = $1::regnamespace",
		pgx.Identifier{s.s.schema}.Sanitize()).Scan(&n)
	s.s.bytes.Store(n)
	return err
}

func (s *serverSession) rollback() error {
	s.batch = pgx.Batch{}
	return s.tx.Rollback(s.ctx)
}

// storable takes out of texts what PostgreSQL has no room for: zero bytes, and what is no UTF-8.
func storable(args []any) []any {
	for i, a := range args {
		if text, ok := a.(string); ok && (strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text)) {
			args[i] = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\uFFFD")
		}
	}
	return args
}

// The limits of a tsvector.
const (
	wordMax     = 2046 // bytes
	placeMax    = 16_383
	placesOfOne = 255
)

// lexemes are the words of a text with their places. What PostgreSQL has no room for is found as a word, and not as a part of a phrase.
func lexemes(text string) pgtype.TSVector {
	at := map[string]int{}
	v := pgtype.TSVector{Valid: true}
	for n, w := range words(text) {
		i, ok := at[w]
		if !ok {
			i = len(v.Lexemes)
			at[w] = i
			v.Lexemes = append(v.Lexemes, pgtype.TSVectorLexeme{Word: w})
		}
		if l := &v.Lexemes[i]; len(l.Positions) < placesOfOne && n < placeMax {
			l.Positions = append(l.Positions, pgtype.TSVectorPosition{Position: uint16(n + 1), Weight: pgtype.TSVectorWeightD})
		}
	}
	slices.SortFunc(v.Lexemes, func(a, b pgtype.TSVectorLexeme) int {
		return cmp.Or(cmp.Compare(len(a.Word), len(b.Word)), cmp.Compare(a.Word, b.Word))
	})
	return v
}

// tsquery is a phrase as PostgreSQL looks for it. One without a word is found nowhere.
func tsquery(text string) string {
	list := words(text)
	if len(list) == 0 {
		return "' '"
	}
	return "('" + strings.Join(list, "' <-> '") + "')"
}
