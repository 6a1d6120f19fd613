package run

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"polity.run"
)

// shelf holds the open waits for one topic, or one pattern of topics. Those that want one of the scalars of an event, as {"order": 17} does, are found by it, so
// that an event for one of a million costs as many looks as the event has scalars; the others are all asked. What is found is asked, too.
type shelf struct {
	all   *wait            // those without such a scalar, the first of a list
	keyed map[string]*wait // likewise, by path and value of one scalar
}

func (s *shelf) empty() bool { return s.all == nil && len(s.keyed) == 0 }

// shelves returns the ones that a topic or a pattern is among.
func (ws *waits) shelves(topic string) map[string]*shelf {
	if ws.topics == nil {
		ws.topics, ws.wild = map[string]*shelf{}, map[string]*shelf{}
	}
	if strings.ContainsAny(topic, "*>") {
		return ws.wild
	}
	return ws.topics
}

// list lets events come to a wait for a topic.
func (ws *waits) list(w *wait) {
	ws.put(w, ws.shelf(w).place(w))
}

// shelf returns the one that a wait is or will be on.
func (ws *waits) shelf(w *wait) *shelf {
	all := ws.shelves(w.on.Topic)
	s := all[w.on.Topic]
	if s == nil {
		s = &shelf{}
		all[w.on.Topic] = s
	}
	return s
}

// put lists a wait under a scalar that it wants; "" for none.
func (ws *waits) put(w *wait, key string) {
	s := ws.shelf(w)
	if w.key = key; key == "" {
		w.push(&s.all)
		return
	}
	if s.keyed == nil {
		s.keyed = map[string]*wait{}
	}
	first := s.keyed[w.key]
	w.push(&first)
	s.keyed[w.key] = first
}

// place returns the scalar under which a wait is kept: the first under which nobody else is, so that what many have in common separates none; "" if it wants none.
func (s *shelf) place(w *wait) string {
	var keys []string
	eachScalar(w.on.Match, func(key []byte) { keys = append(keys, string(key)) })
	slices.Sort(keys)
	for _, key := range keys {
		if s.keyed[key] == nil {
			return key
		}
	}
	if len(keys) == 0 {
		return ""
	}
	return keys[0]
}

func (w *wait) push(first **wait) {
	w.next, w.prev = *first, nil
	if w.next != nil {
		w.next.prev = w
	}
	*first = w
}

// unlist lets no further event of a topic come to a wait.
func (ws *waits) unlist(w *wait) {
	topic := w.on.Topic
	all := ws.shelves(topic)
	s := all[topic]
	if s == nil || w.prev == nil && s.all != w && s.keyed[w.key] != w {
		return // it is not listed
	}
	switch {
	case w.prev != nil:
		w.prev.next = w.next
	case w.key == "":
		s.all = w.next
	case w.next == nil:
		delete(s.keyed, w.key)
	default:
		s.keyed[w.key] = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.next, w.prev, w.key = nil, nil, ""
	if s.empty() {
		delete(all, topic)
	}
}

// awaiting returns who waits for an event on a topic: who came first is first.
func (ws *waits) awaiting(e *event) []*wait {
	var list []*wait
	fits := map[string]bool{} // what was asked already, by match
	add := func(w *wait) {
		for ; w != nil; w = w.next {
			fit, asked := true, false
			if len(w.on.Match) > 0 {
				if fit, asked = fits[string(w.on.Match)]; !asked {
					fit = w.on.Matches(e.data)
					fits[string(w.on.Match)] = fit
				}
			}
			if fit {
				list = append(list, w)
			}
		}
	}
	from := func(s *shelf) {
		add(s.all)
		if len(s.keyed) > 0 {
			eachScalar(e.data, func(key []byte) { add(s.keyed[string(key)]) })
		}
	}
	if s := ws.topics[e.name]; s != nil {
		from(s)
	}
	for pattern, s := range ws.wild {
		if polity.MatchTopic(pattern, e.name) {
			from(s)
		}
	}
	slices.SortFunc(list, func(a, b *wait) int {
		return cmp.Or(cmp.Compare(a.from, b.from), strings.Compare(string(a.run), string(b.run)),
			strings.Compare(a.name, b.name), cmp.Compare(a.attempt, b.attempt))
	})
	return list
}

// on returns who waits for events on a topic, whatever they want of them.
func (ws *waits) on(topic string) []*wait {
	var list []*wait
	add := func(w *wait) {
		for ; w != nil; w = w.next {
			list = append(list, w)
		}
	}
	for _, all := range []map[string]*shelf{ws.topics, ws.wild} {
		for pattern, s := range all {
			if polity.MatchTopic(pattern, topic) {
				add(s.all)
				for _, w := range s.keyed {
					add(w)
				}
			}
		}
	}
	return list
}

// eachScalar gives the scalars of an object and of those in it, but not of lists, each as its path and value, for the time of the call. Two that polity.Awaited takes for
// equal are given equally; the converse need not be so.
func eachScalar(data json.RawMessage, each func(key []byte)) {
	var v map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if d.Decode(&v) == nil {
		scalarsIn(v, nil, each)
	}
}

func scalarsIn(object map[string]any, path []byte, each func(key []byte)) {
	for name, v := range object {
		key := append(append(path[:len(path):len(path)], name...), 0)
		switch v := v.(type) {
		case map[string]any:
			scalarsIn(v, key, each)
		case []any:
		case string:
			each(append(append(key, 's'), v...))
		case json.Number:
			each(append(append(key, 'n'), number(v)...))
		case bool:
			each(strconv.AppendBool(key, v))
		case nil:
			each(key)
		}
	}
}

// number writes numbers alike that are the same one.
func number(n json.Number) string {
	const exact = 1 << 53 // beyond it they are compared as they are written
	if x, err := strconv.ParseFloat(string(n), 64); err == nil && x < exact && x > -exact {
		if x == 0 {
			x = 0 // there is a negative zero
		}
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return string(n)
}
