package polity

import "time"

// Archive says what a file holds into which a run was exported. All of it follows from the run's log, and is checked
// against it when the file is read.
type Archive struct {
	Format  string    `json:"format"`  // ArchiveFormat
	Version int       `json:"version"` // ArchiveVersion
	Run     RunID     `json:"run"`
	Agent   string    `json:"agent"`
	Status  Status    `json:"status"`
	Release string    `json:"release"` // hex SHA-256 of the release that the run was opened with
	Opened  time.Time `json:"opened"`
	Ended   time.Time `json:"ended,omitzero"`
	Usage   Usage     `json:"usage"`
	Commits int       `json:"commits"` // of the log that told of the run
	Events  int       `json:"events"`
	// Head is the hex SHA-256 of the last commit. As each commit holds the hash of the one before, the digest of each large
	// payload and that of the release, which holds those of the pinned files, it stands for everything in the file.
	Head  string   `json:"head"`
	Blobs []string `json:"blobs"` // hex SHA-256 of the documents, sorted
}

// What an Archive calls itself.
const (
	ArchiveFormat  = "polity run archive"
	ArchiveVersion = 1
)

// ArchiveFile says what a file holds into which finished runs of one organization were archived.
type ArchiveFile struct {
	Format  string    `json:"format"`  // ArchiveFileFormat
	Version int       `json:"version"` // ArchiveFileVersion
	Org     string    `json:"org"`     // name of the runs' releases
	Made    time.Time `json:"made"`
	Runs    int       `json:"runs"`
	From    time.Time `json:"from"` // when the first of them ended
	To      time.Time `json:"to"`   // and the last
	// First and Last are the positions in the log between which all that the file holds was told.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	Bytes int64  `json:"bytes"` // of the runs' exports
	// The file itself does not say the rest.
	Path   string `json:"path,omitempty"`
	Size   int64  `json:"size,omitempty"`   // of the file, in bytes
	Digest string `json:"digest,omitempty"` // hex SHA-256 over the heads of its parts, which hold digests of all that it holds
	Damage string `json:"damage,omitempty"` // why what it holds does not count
}

// What an ArchiveFile calls itself.
const (
	ArchiveFileFormat  = "polity archive of runs"
	ArchiveFileVersion = 1
)

// ArchivedRun is a run in a file of archived runs.
type ArchivedRun struct {
	Run     RunID     `json:"run"`
	Agent   string    `json:"agent"`
	Status  Status    `json:"status"`
	Release string    `json:"release"`
	Opened  time.Time `json:"opened"`
	Ended   time.Time `json:"ended"`
	Events  int       `json:"events"`
	First   uint64    `json:"first"` // its first commit in the log that it was archived from
	Last    uint64    `json:"last"`
	Key     string    `json:"key,omitempty"` // that it is enciphered with; "" for none
	Head    string    `json:"head"`          // see Archive
	Block   int       `json:"block"`         // of the file, from 0
	Offset  int64     `json:"offset"`        // of its export in the block, unpacked
	Bytes   int64     `json:"bytes"`         // of its export
}

// ArchiveCheck is what was found in a file of archived runs.
type ArchiveCheck struct {
	File   ArchiveFile `json:"file"`  // as the file says, as far as it can be read
	Sound  int         `json:"sound"` // runs that are whole
	Damage []Damage    `json:"damage,omitempty"`
}

// Retained is what became of runs that were older than they are kept.
type Retained struct {
	DryRun bool          `json:"dry_run,omitempty"` // nothing was done
	Orgs   []RetainedOrg `json:"orgs"`              // sorted by name
	Files  []ArchiveFile `json:"files,omitempty"`   // that were written
	Left   []LeftRun     `json:"left,omitempty"`    // the first of those that were neither archived nor deleted
	More   int           `json:"more,omitempty"`    // others
}

// RetainedOrg counts runs of one organization.
type RetainedOrg struct {
	Org      string `json:"org"`
	Archived int    `json:"archived"`
	Deleted  int    `json:"deleted"`
	Left     int    `json:"left"`
}

// LeftRun is a run that was neither archived nor deleted although it is old enough.
type LeftRun struct {
	Run RunID  `json:"run"`
	Why string `json:"why"`
}

// Restored is a run that was asked for back from an archive.
type Restored struct {
	Run  ArchivedRun `json:"run"`
	Path string      `json:"path"` // of the file
	Here bool        `json:"here"` // it was here all the time, and nothing was done
}

// Retain asks for runs to be archived or deleted that are older than they are kept.
type Retain struct {
	Org string `json:"org,omitempty"` // "" for all
	// OlderThan, if set, archives runs that ended longer ago, whatever their manifests say of how long they are kept. Those of a manifest that
	// wants its runs deleted are left.
	OlderThan *Duration `json:"older_than,omitempty"`
	DryRun    bool      `json:"dry_run,omitempty"`
	Dir       string    `json:"dir,omitempty"` // where archives are expected to lie; "" for wherever they do
}

// Trim asks for the beginning of the log to be dropped, as far as nothing in it is needed.
type Trim struct {
	DryRun bool `json:"dry_run,omitempty"`
	// WithoutArchive drops also runs that ended and are in no archive: what they did is gone for good.
	WithoutArchive bool `json:"without_archive,omitempty"`
}

// Trimmed is what became of the beginning of the log.
type Trimmed struct {
	DryRun bool   `json:"dry_run,omitempty"` // nothing was done
	First  uint64 `json:"first"`             // the commit that the log begins with, or would
	Last   uint64 `json:"last"`              // and the last one
	// Commits were dropped, or would be; Bytes is about how much of the log they are. Runs is how many runs that had ended they tell of, and Carried how many that
	// have not: their past is kept beside the log.
	Commits uint64 `json:"commits"`
	Bytes   int64  `json:"bytes"`
	Runs    int    `json:"runs"`
	Carried int    `json:"carried"`
	// Left are the first of the runs that are in the way of more.
	Left []LeftRun `json:"left,omitempty"`
}
