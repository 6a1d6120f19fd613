package view

// Schema is the version of what is stored. A view of another version is thrown away and made again.
const Schema = 4

// tables are what a view is made of, in SQLite's words; PostgreSQL's are made of them. Numbers are given in the order of the log, so that a view that
// is made again is the same. Times are nanoseconds since 1970, costs are millionths of a US dollar.
const tables = `
CREATE TABLE position (seq INTEGER NOT NULL, head TEXT NOT NULL, at INTEGER NOT NULL, runs INTEGER NOT NULL, steps INTEGER NOT NULL, texts INTEGER NOT NULL, told INTEGER NOT NULL);
INSERT INTO position VALUES (0, '', 0, 0, 0, 0, 0);

CREATE TABLE releases (num INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, name TEXT NOT NULL);

CREATE TABLE runs (
	num INTEGER PRIMARY KEY,
	id TEXT NOT NULL,
	root INTEGER NOT NULL, parent INTEGER NOT NULL, depth INTEGER NOT NULL,
	release INTEGER NOT NULL,
	agent TEXT NOT NULL, skill TEXT NOT NULL, team TEXT NOT NULL,
	status INTEGER NOT NULL,
	opened INTEGER NOT NULL, ended INTEGER, took INTEGER,
	turns INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, tokens INTEGER NOT NULL, cost INTEGER NOT NULL,
	fault_kind TEXT, fault TEXT,
	fork_run TEXT, fork_event INTEGER,
	conversation TEXT, paused INTEGER, stopping INTEGER
);
CREATE UNIQUE INDEX runs_id ON runs (id);
CREATE INDEX runs_root ON runs (root) WHERE depth > 0;
CREATE INDEX runs_agent ON runs (agent, opened, num);
CREATE INDEX runs_opened ON runs (opened, num) WHERE depth = 0;
CREATE INDEX runs_status ON runs (status, opened, num) WHERE depth = 0;
CREATE INDEX runs_cost ON runs (cost, num) WHERE depth = 0 AND ended IS NOT NULL;
CREATE INDEX runs_tokens ON runs (tokens, num) WHERE depth = 0 AND ended IS NOT NULL;
CREATE INDEX runs_took ON runs (took, num) WHERE depth = 0 AND ended IS NOT NULL;
CREATE INDEX runs_ended ON runs (ended, num) WHERE depth = 0 AND ended IS NOT NULL;
CREATE INDEX runs_conversation ON runs (conversation, opened, num) WHERE conversation IS NOT NULL;
CREATE INDEX runs_paused ON runs (opened, num) WHERE paused IS NOT NULL;
CREATE INDEX runs_stopping ON runs (opened, num) WHERE stopping IS NOT NULL;

CREATE TABLE steps (
	num INTEGER PRIMARY KEY,
	run INTEGER NOT NULL, root INTEGER NOT NULL,
	name TEXT NOT NULL,
	verb TEXT NOT NULL, dest TEXT NOT NULL, class TEXT NOT NULL,
	status INTEGER NOT NULL,
	since INTEGER, began INTEGER, ended INTEGER,
	turns INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost INTEGER NOT NULL,
	fault TEXT,
	taken INTEGER NOT NULL, person INTEGER NOT NULL, decision TEXT,
	asked INTEGER NOT NULL, verdict TEXT, found_by TEXT, found INTEGER
);
CREATE INDEX steps_root ON steps (root);
CREATE INDEX steps_dest ON steps (dest, verb, num);
CREATE INDEX steps_status ON steps (status, num) WHERE status <> 1;
CREATE INDEX steps_person ON steps (num) WHERE person = 1;
CREATE INDEX steps_decided ON steps (num) WHERE decision IS NOT NULL;
CREATE INDEX steps_open ON steps (num) WHERE status = 3 AND verdict IS NULL;
CREATE INDEX steps_found ON steps (num) WHERE verdict IS NOT NULL;

CREATE TABLE told (
	num INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL,
	run INTEGER NOT NULL, root INTEGER NOT NULL, at INTEGER NOT NULL, place INTEGER NOT NULL
);
CREATE INDEX told_name ON told (name, num);
CREATE INDEX told_root ON told (root) WHERE root > 0;

-- Messages between agents; the run that delivers one has its recipient, its times and how it ended.
CREATE TABLE mail (
	run INTEGER PRIMARY KEY, seq INTEGER NOT NULL,
	sender TEXT NOT NULL, conversation TEXT NOT NULL, performative TEXT NOT NULL, envelope TEXT NOT NULL,
	did TEXT NOT NULL, by TEXT NOT NULL
);
CREATE INDEX mail_sender ON mail (sender, run);
CREATE INDEX mail_conversation ON mail (conversation, run);

CREATE TABLE texts (num INTEGER PRIMARY KEY, run INTEGER NOT NULL, root INTEGER NOT NULL, step TEXT NOT NULL, part INTEGER NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL);

CREATE TABLE used (
	day INTEGER NOT NULL, agent TEXT NOT NULL, skill TEXT NOT NULL, verb TEXT NOT NULL, dest TEXT NOT NULL,
	calls INTEGER NOT NULL, failed INTEGER NOT NULL, time INTEGER NOT NULL,
	turns INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost INTEGER NOT NULL,
	PRIMARY KEY (day, agent, skill, verb, dest)
) WITHOUT ROWID;

CREATE TABLE ended (
	day INTEGER NOT NULL, agent TEXT NOT NULL, status INTEGER NOT NULL, runs INTEGER NOT NULL, time INTEGER NOT NULL,
	PRIMARY KEY (day, agent, status)
) WITHOUT ROWID;

-- What agents said to each other: a request, and what came back.
CREATE VIEW messages AS
	SELECT c.opened AS at, p.agent AS sender, c.agent AS recipient, c.skill AS skill, c.id AS run, '' AS command, c.status AS answer, c.ended AS answered, c.root AS root
		FROM runs c JOIN runs p ON p.num = c.parent
	UNION ALL
	SELECT s.since, r.agent, s.dest, '', r.id, s.name, s.status, s.ended, s.root FROM steps s JOIN runs r ON r.num = s.run WHERE s.verb = 'ask';
`

// rowsOf are the tables, each with the columns that its rows are in order by.
var rowsOf = []struct{ table, order string }{
	{"releases", "num"}, {"runs", "num"}, {"steps", "num"}, {"told", "num"}, {"mail", "run"}, {"texts", "num"}, {"used", "day, agent, skill, verb, dest"}, {"ended", "day, agent, status"},
}

// The states of a step, as they are stored. See StepRow.Status.
const (
	stepBegan = iota
	stepDone
	stepFailed
	stepUnknown
)

var stepStates = []string{"began", "done", "failed", "unknown"}

// The parts of a run or step that have a text.
const (
	partInput = iota
	partOutput
	partSignal
	partEvent
)

var partNames = []string{"input", "output", "signal", "event"}

// What is told, as it is stored.
const (
	toldSignal = iota
	toldTopic
)

var toldKinds = []string{"signal", "topic"}
