package agent

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"polity.run/model"
)

// WorkingMemory is what an agent knows in one run. It belongs to one run and is called from one goroutine; it is rebuilt from the
// log after a crash, so it may not depend on anything but what it was told.
type WorkingMemory interface {
	// Add remembers messages, in their order.
	Add(messages ...model.Message)
	// View returns the messages for a request of at most max tokens, by estimate, and what it left out to come there.
	// If sum is not empty, it is to be summed up first: View is called again after Summed.
	View(max int64) (messages, sum []model.Message)
	// Summed replaces what View wanted summed up; "" leaves it out without a summary.
	Summed(text string)
	// Recall returns what was left out behind a reference.
	Recall(reference string) (text string, found bool)
}

// Figures of compaction.
const (
	tokenBytes   = 3    // bytes of a token, by estimate: rather too many tokens than too few
	messageBytes = 16   // of a message beside its text
	referMin     = 1000 // bytes of a result from which on a reference is shorter
	referKeep    = 200  // bytes of it that stay
	roomPart     = 4    // a compaction makes room for one part in roomPart, or it would be needed again at once
)

// conversation is the default working memory: messages, compacted by a policy. Pinned messages and the newest exchange stay.
type conversation struct {
	compact  Compaction
	messages []model.Message
	left     map[string]string // by reference: the text that was left out
	dropped  int
	summing  int // how many messages, from the first that is not pinned, are being summed up
}

func (c *conversation) Add(messages ...model.Message) { c.messages = append(c.messages, messages...) }

// tokens estimates the length of messages.
func tokens(messages []model.Message) int64 {
	n := 0
	for _, m := range messages {
		n += len(m.Text) + messageBytes
		for _, call := range m.Calls {
			n += len(call.Name) + len(call.Input) + messageBytes
		}
	}
	return int64(n / tokenBytes)
}

func (c *conversation) View(max int64) (messages, sum []model.Message) {
	if tokens(c.messages) <= max {
		return c.view(), nil
	}
	goal := max - max/roomPart
	switch c.compact {
	case Summarise:
		if old := c.oldest(goal); len(old) > 0 {
			c.summing = len(old)
			return nil, old
		}
	case Drop:
	default:
		c.refer(goal)
	}
	if tokens(c.messages) > max {
		n := len(c.oldest(goal))
		c.dropped += n
		c.remove(n)
	}
	return c.view(), nil
}

// view is what the model sees: with a word about what it does not see.
func (c *conversation) view() []model.Message {
	if c.dropped == 0 {
		return append([]model.Message(nil), c.messages...)
	}
	out := make([]model.Message, 0, len(c.messages)+1)
	told := false
	for _, m := range c.messages {
		if !told && !m.Pinned {
			told = true
			out = append(out, model.Message{Role: model.User, Text: fmt.Sprintf("[%d earlier messages were left out here.]", c.dropped)})
		}
		out = append(out, m)
	}
	return out
}

// oldest returns the oldest messages that may go, in whole exchanges: a call never goes without its results. The newest
// exchange stays.
func (c *conversation) oldest(goal int64) []model.Message {
	var free []model.Message
	for _, m := range c.messages {
		if !m.Pinned {
			free = append(free, m)
		}
	}
	left, n := tokens(c.messages), 0
	for n < len(free) && left > goal {
		end := exchange(free, n)
		if end == len(free) {
			break
		}
		left -= tokens(free[n:end])
		n = end
	}
	return free[:n]
}

// exchange returns where the exchange ends that begins at i.
func exchange(messages []model.Message, i int) int {
	i++
	for i < len(messages) && messages[i].Role == model.Tool && messages[i].Call != "" {
		i++
	}
	return i
}

// remove takes the first n messages out that are not pinned.
func (c *conversation) remove(n int) {
	kept := c.messages[:0]
	for _, m := range c.messages {
		if n > 0 && !m.Pinned {
			n--
			continue
		}
		kept = append(kept, m)
	}
	clear(c.messages[len(kept):])
	c.messages = kept
}

// refer replaces long results by references, the oldest first. Those of the newest exchange stay.
func (c *conversation) refer(goal int64) {
	last := len(c.messages)
	for i := len(c.messages) - 1; i >= 0 && c.messages[i].Role == model.Tool && c.messages[i].Call != ""; i-- {
		last = i
	}
	for i := range c.messages[:last] {
		m := &c.messages[i]
		if tokens(c.messages) <= goal {
			return
		}
		if m.Role != model.Tool || m.Pinned || len(m.Text) < referMin {
			continue
		}
		if c.left == nil {
			c.left = map[string]string{}
		}
		reference := "r" + strconv.Itoa(len(c.left)+1)
		c.left[reference] = m.Text
		m.Text = fmt.Sprintf("%s…\n[The rest of %d bytes was left out. To read it, call %s with {\"reference\": %q}.]",
			cut(m.Text, referKeep), len(m.Text), openName, reference)
	}
}

func (c *conversation) Summed(text string) {
	n := c.summing
	c.summing = 0
	c.remove(n)
	if text == "" {
		c.dropped += n
		return
	}
	at := 0
	for at < len(c.messages) && c.messages[at].Pinned {
		at++
	}
	sum := model.Message{Role: model.User, Text: "[Summary of what was said and found before, made by the model:]\n" + text}
	c.messages = append(c.messages[:at], append([]model.Message{sum}, c.messages[at:]...)...)
}

func (c *conversation) Recall(reference string) (string, bool) {
	text, ok := c.left[reference]
	return text, ok
}

// openName is the offer by which a model reads again what was left out.
const openName = "context.open"

var openOffer = model.Offer{
	Name: openName, Description: "Reads a result again that was left out of the conversation because of its length.",
	Input: json.RawMessage(`{"type":"object","additionalProperties":false,"required":["reference"],"properties":{` +
		`"reference":{"type":"string","description":"as in r1"},"from":{"type":"integer","minimum":0,"description":"byte to begin at; 0 if left out"}}}`),
}

// open answers a call of context.open.
func open(w WorkingMemory, input json.RawMessage) (string, bool) {
	var in struct {
		Reference string `json:"reference"`
		From      int    `json:"from"`
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return "input: want {\"reference\": \"r1\"}", false
	}
	text, ok := w.Recall(in.Reference)
	if !ok || in.From < 0 || in.From > len(text) {
		return fmt.Sprintf("there is no %.40q from byte %d", in.Reference, in.From), false
	}
	text = strings.ToValidUTF8(text[in.From:], "")
	if len(text) > openMax {
		rest := cut(text, openMax)
		return fmt.Sprintf("%s\n[%d bytes follow: from %d]", rest, len(text)-len(rest), in.From+len(rest)), true
	}
	return text, true
}

// cut returns the beginning of a text, in whole characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
