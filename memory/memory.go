// Package memory is the port for what agents know beyond one run: past runs (episodes), what was noted, and passages of documents.
//
// It exists so that remembering is bounded, says where each piece comes from, and can be taken back: everything that one event wrote, and
// everything that was concluded from it. What an agent knows within one run is its working memory, in package agent.
//
//	run -> recall: search -> records, as an event of the run
//	    -> remember: a record, with its origin -> ... -> forget, by any part of the origin
//
// A name says whose memory it is: that of an organization, or of one agent in it. See [Of].
package memory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
)

// Kind says what a record is.
type Kind string

// The kinds.
const (
	Episode Kind = "episode" // a past run: what was asked and answered
	Note    Kind = "note"    // what an agent or a person wrote down
	Passage Kind = "passage" // of a document
)

// Kinds lists the kinds.
func Kinds() []Kind { return []Kind{Episode, Note, Passage} }

// The limits of a record and of a memory. A memory that is full forgets its oldest episodes first and then its oldest notes; passages of
// documents go only when somebody says so.
const (
	TextMax      = 8 << 10  // bytes of a record's text
	TitleMax     = 300      // bytes
	NameMax      = 200      // bytes of a memory's name, an ID or a part of an origin
	BecauseMax   = 64       // records that one may derive from
	RecordsMax   = 20_000   // of one memory
	BytesMax     = 32 << 20 // texts of one memory
	AddMax       = 5_000    // records that are added at once
	QueryMax     = 4 << 10  // bytes of a query
	HitsMax      = 50       // of a search
	HitsDefault  = 5
	DocumentMax  = 8 << 20 // bytes of a document
	ForgottenMax = 1_000   // forgettings that are remembered
)

// Names of the tools by which agents remember: see package tool/remember.
const (
	SearchTool = "memory.search"
	NoteTool   = "memory.note"
	KeepTool   = "memory.keep" // an episode; called by the agent's decider, never offered to a model
)

// Origin is where a record comes from.
type Origin struct {
	Run      polity.RunID     `json:"run,omitempty"`   // of the agent that wrote it; "" for a person
	Agent    polity.AgentName `json:"agent,omitempty"` // who wrote it
	Event    string           `json:"event,omitempty"` // the effect's key that wrote it
	Document string           `json:"document,omitempty"`
	Digest   string           `json:"digest,omitempty"` // hex SHA-256 of the document
	Line     int              `json:"line,omitempty"`   // in it, from 1
	// Because are the records that were recalled before it was written: it may have been concluded from them.
	Because []Ref `json:"because,omitempty"`
}

// Ref names a record.
type Ref struct {
	Memory string `json:"memory"`
	ID     string `json:"id"`
}

// Record is something that is remembered.
type Record struct {
	ID     string    `json:"id"` // within its memory; the same ID with the same content is one record
	Kind   Kind      `json:"kind"`
	Title  string    `json:"title,omitempty"` // the question of an episode, the heading of a passage
	Text   string    `json:"text"`
	At     time.Time `json:"at"`
	Origin Origin    `json:"origin"`
}

// Check returns nil, or fault.Invalid saying what is wrong with a record.
func (r Record) Check() error {
	long := func(parts ...string) bool {
		for _, p := range parts {
			if len(p) > NameMax {
				return true
			}
		}
		return false
	}
	switch {
	case r.ID == "":
		return fault.Invalid.New("memory: a record without an ID")
	case r.Kind != Episode && r.Kind != Note && r.Kind != Passage:
		return fault.Invalid.New("memory: kind %.40q: want episode, note or passage", r.Kind)
	case strings.TrimSpace(r.Text) == "":
		return fault.Invalid.New("memory: record %s has no text", r.ID)
	case len(r.Text) > TextMax || len(r.Title) > TitleMax:
		return fault.Invalid.New("memory: record %.60s: a text of %d and a title of %d bytes; the most is %d and %d", r.ID, len(r.Text), len(r.Title), TextMax, TitleMax)
	case long(r.ID, r.Origin.Event, r.Origin.Document, r.Origin.Digest) || len(r.Origin.Because) > BecauseMax ||
		slices.ContainsFunc(r.Origin.Because, func(b Ref) bool { return long(b.Memory, b.ID) }):
		return fault.Invalid.New("memory: record %.60s: a part of its origin is longer than %d bytes, or there are more than %d reasons", r.ID, NameMax, BecauseMax)
	default:
		return nil
	}
}

// Query asks a memory.
type Query struct {
	Text  string `json:"text"`
	Kinds []Kind `json:"kinds,omitempty"` // empty: all
	Limit int    `json:"limit,omitempty"` // 0 is HitsDefault; at most HitsMax
}

// Hit is a record that a search found.
type Hit struct {
	Record
	Memory string  `json:"memory,omitempty"` // its name, where several were searched
	Score  float64 `json:"score"`            // comparable within one search only
}

// Filter says which records are meant: those that match every field that is set. The zero Filter means none.
type Filter struct {
	IDs      []string     `json:"ids,omitempty"`
	Run      polity.RunID `json:"run,omitempty"` // with all runs below it
	Event    string       `json:"event,omitempty"`
	Document string       `json:"document,omitempty"`
	Kind     Kind         `json:"kind,omitempty"`
	All      bool         `json:"all,omitempty"` // everything; with Kind everything of it
	// Keep spares a document's passages that have this digest: what forgets an older version of it.
	Keep string `json:"keep,omitempty"`
}

// Empty says whether the filter means nothing.
func (f Filter) Empty() bool {
	return len(f.IDs) == 0 && f.Run == "" && f.Event == "" && f.Document == "" && f.Kind == "" && !f.All
}

// Matches says whether a record is meant.
func (f Filter) Matches(r Record) bool {
	if f.Empty() {
		return false
	}
	named := len(f.IDs) == 0
	for _, id := range f.IDs {
		named = named || id == r.ID
	}
	run := r.Origin.Run
	return named && (f.Run == "" || run == f.Run || strings.HasPrefix(string(run), string(f.Run)+"/")) &&
		(f.Event == "" || f.Event == r.Origin.Event) && (f.Document == "" || f.Document == r.Origin.Document) &&
		(f.Kind == "" || f.Kind == r.Kind) && (f.Keep == "" || f.Keep != r.Origin.Digest)
}

// Forgotten is what was forgotten, and when: the words are gone, that they were there is not.
type Forgotten struct {
	At      time.Time `json:"at"`
	Memory  string    `json:"memory"`
	Filter  Filter    `json:"filter"`
	Records int       `json:"records"` // with those that derived from them
	Derived int       `json:"derived,omitempty"`
}

// Store holds memories by their names. Implementations are safe for concurrent use.
type Store interface {
	// Add remembers records, all or, after a fault, perhaps some of them: adding the same again is safe. It returns fault.Conflict for
	// an ID that has another content, fault.Full when passages alone fill the memory, fault.Invalid for a record that is wrong. The usage
	// is that of an embedder, and is returned with a fault too.
	Add(ctx context.Context, name string, records []Record) (polity.Usage, error)
	// Search returns the records of the named memories that have most to do with the query, best first, and of those that say the same
	// only one. The same query to the same memories returns the same.
	Search(ctx context.Context, names []string, q Query) ([]Hit, polity.Usage, error)
	// Forget forgets what the filter means in the named memory, and in every memory what was concluded from it, and returns what it did.
	Forget(ctx context.Context, name string, f Filter, at time.Time) (Forgotten, error)
	// List returns records in the order in which they were added, and what was forgotten.
	List(ctx context.Context, name string) ([]Record, []Forgotten, error)
}

// KeyID is the ID of a record that an effect wrote, by the effect's key: the key itself, or a digest of one that is too long for an ID.
func KeyID(key string) string {
	if len(key) <= NameMax {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "key-" + hex.EncodeToString(sum[:16])
}

// Embedder turns texts into vectors, near each other where the meaning is. Implementations are safe for concurrent use.
type Embedder interface {
	// Name stands for the model: vectors of different names are not compared.
	Name() string
	// Embed returns one vector for each text, all of one length. The usage is returned with a fault too, where it is known.
	Embed(ctx context.Context, texts []string) ([][]float32, polity.Usage, error)
}

// Of is the name of a memory: of an agent in an organization, or of the organization itself for no agent.
func Of(organization string, agent polity.AgentName) string {
	if agent == "" {
		return organization
	}
	return organization + "/" + string(agent)
}
