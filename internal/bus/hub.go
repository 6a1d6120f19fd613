package bus

import (
	"net/url"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"polity.run/fault"
)

// Hub is a NATS server or cluster of one's own through which agents of one account reach the door: the door connects to it as a leaf node. The log does not. Who
// speaks there the hub alone knows: the door holds everybody to what the sender on a subject may say, and cannot see whether it is that sender. Hence the hub has to give each agent the
// rights that the door gives.
type Hub struct {
	Server         // its URL is that of the hub's port for leaf nodes; Domain and Replicas mean nothing
	Account string // of the door
}

// AnswersOfAgents is the subject on which agents answer live questions.
const AnswersOfAgents = "ans.>"

// FromAgents are all other subjects on which agents speak.
func FromAgents() []string {
	return []string{"msg.>", "rol.>", "grp.>", "all.>", "evt.>", "ctl.>"}
}

// leaf has the door's server connect to a hub.
func (h *Hub) leaf(opts *server.Options) error {
	if err := h.Check(); err != nil {
		return err
	}
	r := &server.RemoteLeafOpts{
		LocalAccount: h.Account, Credentials: h.Creds,
		DenyExports: append(FromAgents(), AnswersOfAgents), // nobody at the hub hears what others say to the door. What is imported cannot be denied: the server would hold back box.> both ways
	}
	for part := range strings.SplitSeq(h.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		if err != nil {
			return fault.Invalid.New("bus: hub: %w", err)
		}
		if h.User != "" {
			u.User = url.UserPassword(h.User, h.Password)
		}
		r.URLs = append(r.URLs, u)
		r.TLS = r.TLS || u.Scheme == "tls"
	}
	if h.NKey != "" {
		return fault.Invalid.New("bus: hub: name a file of credentials or a user: an NKey alone is not taken here")
	}
	config, err := h.trust()
	if err != nil {
		return err
	}
	if config != nil {
		r.TLS, r.TLSConfig = true, config
	}
	opts.LeafNode.Remotes = []*server.RemoteLeafOpts{r}
	opts.Accounts = append(opts.Accounts, server.NewAccount(h.Account))
	return nil
}

// Matches says whether a subject, or all that a pattern stands for, is among what another pattern stands for.
func Matches(subject, pattern string) bool { return server.SubjectMatchesFilter(subject, pattern) }
