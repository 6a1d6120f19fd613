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
