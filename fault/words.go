package fault

// words are what is said of every kind to whoever meets it.
var words = map[Kind]struct{ title, hint string }{
	Invalid:         {"The request is not valid", "Correct the request; the same one will be refused again."},
	NotFound:        {"There is no such thing", "Look at the name; lists say what there is."},
	Conflict:        {"It contradicts what is recorded", "Look at what is there, and ask under another ID or key."},
	Denied:          {"It is not allowed", "Ask somebody who may, or ask for the right."},
	Unauthenticated: {"Who asks is not known", "Send a token, as in Authorization: Bearer TOKEN."},
	Exhausted:       {"A bound was reached", "Wait as Retry-After says, or ask for less."},
	Timeout:         {"It took too long", "Ask again; what was accepted goes on."},
	Cancelled:       {"It was asked to stop", "Ask again if it is still wanted."},
	Unavailable:     {"It cannot be answered now", "Ask again in a moment, with the same ID or key."},
	Unknown:         {"Nobody knows whether it was done", "Find out what became of it before asking again."},
	Full:            {"There is no room", "Make room; then ask again."},
	Fenced:          {"Another process serves this now", "Ask again with the same ID or key."},
	Damaged:         {"Stored data is damaged", "Check the state: polity doctor."},
	Erased:          {"It was erased", "It is gone for good."},
	Diverged:        {"The code decides otherwise than the log", "Bring back the code that the run was opened with."},
	Failed:          {"The work failed", "See the run's log; it may be asked for again."},
	Internal:        {"A defect of the server", "Report it, with what the server's log says."},
}

// Title says in a few words what the kind means. It never changes from one failure to the next.
func (k Kind) Title() string { return words[k].title }

// Hint says whose turn it is, and to do what.
func (k Kind) Hint() string { return words[k].hint }
