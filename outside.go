package polity

import "time"

// Admission says where and for how long an agent in another process is let in. It holds no secret.
type Admission struct {
	URL   string    `json:"url"` // nats:// or tls://
	Org   string    `json:"org"`
	Agent AgentName `json:"agent"` // "" for an operator
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	CA    string    `json:"ca,omitempty"` // certificate that the server's is held against, PEM; "" for those of the system
	// Signed says that what the agent says has to be signed: it may come through a hub that is not believed who speaks.
	Signed bool `json:"signed,omitempty"`
}

// Presence is what is known of an agent in another process.
type Presence struct {
	Org       string    `json:"org"`
	Agent     AgentName `json:"agent"`
	State     string    `json:"state"` // serving, draining or away
	Processes int       `json:"processes"`
	Versions  []string  `json:"versions,omitempty"`
	Heard     time.Time `json:"heard,omitzero"`     // last; zero if it says nothing of itself
	Waiting   int       `json:"waiting"`            // questions that it has not answered, without live ones
	Asked     int64     `json:"asked"`              // questions since the node began to serve
	Live      int64     `json:"live"`               // of them live
	Failed    int64     `json:"failed"`             // of them those that it refused or failed to do, or did not answer while somebody waited
	MeanTime  Duration  `json:"mean_time,omitzero"` // from a question to its answer
	Keys      int       `json:"keys"`               // that it may connect with
	Until     time.Time `json:"until,omitzero"`     // when the last of them ends
}

// Refusal is something that an agent in another process, or somebody who is none, tried and was not allowed.
type Refusal struct {
	Seq     uint64    `json:"seq"` // position among all that were kept
	At      time.Time `json:"at"`
	Org     string    `json:"org,omitempty"`
	Agent   AgentName `json:"agent,omitempty"` // "" for somebody who did not prove to be one
	Key     string    `json:"key,omitempty"`   // public
	From    string    `json:"from,omitempty"`  // network address
	Verb    string    `json:"verb"`            // connect, publish, subscribe, reply or misuse
	Subject string    `json:"subject,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	// Missed are how many came before this one, of the same agent or faster than they could be told, and are counted alone.
	Missed uint64 `json:"missed,omitempty"`
}

// What may be refused.
const (
	RefusedConnect   = "connect"
	RefusedPublish   = "publish"
	RefusedSubscribe = "subscribe"
	RefusedReply     = "reply"  // publishing with a reply subject that is the server's
	RefusedMisuse    = "misuse" // what a link allows, and means something that is not so
)
