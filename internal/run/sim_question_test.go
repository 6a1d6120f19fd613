package run

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
)

var askCatalog = programs{
	deciders: map[string]polity.Decider{"asker": branch{waits: true, asks: true}}, effects: simCatalog.effects, asks: simCatalog.asks, signals: []string{"go", "on"},
	persons: map[string]time.Duration{"boss": 1000 * time.Hour, "late": time.Second},
}

// asks is what a tree asks of persons, in words.
func (w *world) asks(c *core, t *tree) string {
	list, err := c.questionsOf(t)
	if err != nil {
		w.fail("%s: what it asks: %v", t.id, err)
	}
	text := ""
	for _, q := range list {
		text += fmt.Sprintf("%s of %s %s by %s, from %s to %s; ", q.Key(), q.To, q.Input, q.From, q.Since.UTC(), q.Until.UTC())
	}
	return text
}

// checkPosing wants a tree that was found asleep to say whether it asks persons as its trail does.
func (w *world) checkPosing(c *core) {
	for _, t := range c.roots {
		if !t.asleep || t.idle || len(w.catalog.persons) == 0 {
			continue
		}
		said := t.posing
		t.posing = true
		if text := w.asks(c, t); said != (text != "") {
			w.fail("%s says that it asks persons: %t, and it asks %s", t.id, said, text)
		}
		t.posing = said
	}
}

// asking is a world in which persons are asked, and answer.
type asking struct {
	waiting
	next  int
	said  map[string]string // what was answered, by key, once that was acknowledged
	tried map[string]bool   // every answer
	sum   *askStats
}

type askStats struct {
	answered, asleep, refused, again, late, cancelled int

	told map[string]int
}

// TestSimulatedQuestions asks persons amid everything that the other worlds have. Those who have long to answer must be asked until they do, or
// nothing ends.
func TestSimulatedQuestions(t *testing.T) {
	sum := askStats{told: map[string]int{}}
	if *simSeed != 0 {
		simulateQuestions(t, *simSeed, true, &sum)
		return
	}
	seeds := *simSeeds / 4 // TestSimulatedWaiting has the same worlds, but for persons
	for seed := range uint64(seeds) {
		simulateQuestions(t, seed+1, false, &sum)
	}
	t.Logf("%d seeds: %+v", seeds, sum)
	if sum.answered == 0 || sum.asleep == 0 || sum.refused == 0 || sum.again == 0 || sum.late == 0 || sum.cancelled == 0 || sum.told["asking"] == 0 {
		t.Errorf("something never happened: %+v", sum)
	}
}

func simulateQuestions(t *testing.T, seed uint64, print bool, sum *askStats) {
	w := asking{
		waiting: waiting{world: newWorld(t, seed, print, askCatalog), sum: &waitStats{told: map[string]int{}}},
		said:    map[string]string{}, tried: map[string]bool{}, sum: sum,
	}
	w.answers = func(e *simEffect) json.RawMessage { return json.RawMessage(fmt.Sprintf(`{"did":%q}`, e.p.cmd.Name)) }
	w.opens("asker", 6)
	w.extra = func() {
		if w.rng.IntN(3) == 0 {
			w.something()
		} else {
			w.answer()
		}
	}
	w.live()
	sum.told["asking"] += w.told["asking"]
	w.checkAnswers()
}

// answer has somebody answer one of the questions that an owner lists, sometimes badly, or twice.
func (w *asking) answer() {
	o := w.newest()
	if w.rng.IntN(8) == 0 {
		o = w.owners[w.rng.IntN(len(w.owners))]
	}
	if !o.alive {
		return
	}
	o.core.now = w.now
	list, _, err := o.core.questionsOfAll(o.core.asking())
	if err != nil {
		w.fail("questions: %v", err)
	}
	if len(list) == 0 {
		return
	}
	q := list[w.rng.IntN(len(list))]
	if q.To == "late" && w.rng.IntN(2) == 0 {
		return
	}
	if o.core.trees[q.Run.Root()].asleep {
		w.sum.asleep++
	}
	key := q.Key()
	if w.rng.IntN(4) == 0 {
		o.core.answered(key, json.RawMessage("null"), "", func(err error) {
			if err == nil {
				w.fail("null was taken as an answer to %s", key)
			}
			w.sum.refused++
		})
	}
	for n := range 1 + w.rng.IntN(2) {
		w.next++
		text := fmt.Sprintf(`"answer %d"`, w.next)
		w.tried[text] = true
		w.done[key]++
		o.core.answered(key, json.RawMessage(text), "", func(err error) {
			switch {
			case err == nil && w.said[key] != "":
				w.fail("%s was answered with %s and %s", key, w.said[key], text)
			case err == nil:
				w.said[key] = text
				w.sum.answered++
			case fault.Of(err).Kind == fault.NotFound && n > 0:
				w.sum.again++
			}
		})
	}
	o.step()
}

// checkAnswers wants each answer that was acknowledged in the log as the result of its question, and no result that nobody answered.
func (w *asking) checkAnswers() {
	w.records(func(_ int, r *record) {
		if r.kind != recResult {
			return
		}
		key := polity.EffectKey(r.run, r.name, r.attempt)
		if text := w.said[key]; text != "" && text != string(r.data.data) {
			w.fail("%s was answered with %s, and the log says %s %v", key, text, r.data.data, r.fault)
		}
		delete(w.said, key)
		if r.effect.to != "boss" && r.effect.to != "late" {
			return
		}
		switch {
		case r.fault == nil && !w.tried[string(r.data.data)]:
			w.fail("%s has the result %s, which nobody answered", key, r.data.data)
		case r.fault != nil && r.fault.Kind == fault.Timeout:
			w.sum.late++
			if r.effect.to == "boss" {
				w.fail("%s: the boss had more time: %v", key, r.fault)
			}
		case r.fault != nil && r.fault.Kind == fault.Cancelled:
			w.sum.cancelled++
		}
	})
	for key, text := range w.said {
		w.fail("%s was answered with %s, which was acknowledged and is lost", key, text)
	}
}
