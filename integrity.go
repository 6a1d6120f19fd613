package polity

import "time"

// Integrity is what a check of a whole state, or of a backup of one, found.
type Integrity struct {
	Commits uint64 `json:"commits"` // that were read
	// First is the first commit that the log has, if its beginning was dropped and a base stands for it; else 0.
	First     uint64    `json:"first,omitempty"`
	Events    uint64    `json:"events"` // in them
	Bytes     uint64    `json:"bytes"`  // of them
	At        time.Time `json:"at,omitzero"`
	Head      string    `json:"head,omitempty"` // hex: the hash of the last sound commit; it stands for all before it
	Sound     uint64    `json:"sound"`          // up to this commit the log is one chain
	Runs      int       `json:"runs"`           // roots
	Live      int       `json:"live"`           // of these have not ended
	Documents int       `json:"documents"`      // that the log names, and that are what their digests say
	Unnamed   int       `json:"unnamed"`        // documents that it does not name: of commits that were not written, or not yet
	Records   int       `json:"records"`        // of memories, facts and topics
	Damage    []Damage  `json:"damage,omitempty"`
	More      int       `json:"more,omitempty"` // damages that are not listed
}

// Damage is one thing that is not as it was written.
type Damage struct {
	What string `json:"what"` // commit, anchor, document, record or file
	Name string `json:"name"` // which one
	Text string `json:"text"`
	// Runs are the roots that are concerned, as far as that can be told; More is how many others.
	Runs []RunID `json:"runs,omitempty"`
	More int     `json:"more,omitempty"`
}

// Progress is how far long work has come.
type Progress struct {
	Stage string `json:"stage"` // what is being done, as in "commits"
	Done  int64  `json:"done"`
	Total int64  `json:"total,omitempty"` // 0 for not known
	Unit  string `json:"unit,omitempty"`  // of both: "" for a number of things, or "bytes"
}

// Backup says what a backup holds. It stands at the end of the file.
type Backup struct {
	Format  string    `json:"format"`  // BackupFormat
	Version int       `json:"version"` // BackupVersion
	Made    time.Time `json:"made"`
	First   uint64    `json:"first,omitempty"` // the first commit that is in it, with a base for what came before; 0 for the first of all
	Commit  uint64    `json:"commit"`          // the last one that is in it
	Head    string    `json:"head"`            // hex: its hash
	Runs    int       `json:"runs"`
	Live    int       `json:"live"` // of these have not ended
	// Documents, Records, Events and Files count what it holds beside the log: documents, records of memories and facts, events on topics with dead
	// letters and refusals, and files of watches.
	Documents int   `json:"documents"`
	Records   int   `json:"records"`
	Events    int   `json:"events,omitempty"`
	Files     int   `json:"files"`
	Bytes     int64 `json:"bytes"` // of all of it, unpacked
	// Digest is the hex SHA-256 of the names and digests of everything in it, in order.
	Digest string `json:"digest"`
	// Damage is what was wrong with the state, of which this is the sound part; empty for a whole one.
	Damage []Damage `json:"damage,omitempty"`
}

// What a Backup calls itself.
const (
	BackupFormat  = "polity backup"
	BackupVersion = 3 // 1 had no events; 2 no documents that only records name, and a log that begins with the first commit of all
)
