package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"syscall"

	"polity.run"
	"polity.run/fault"
	"polity.run/pattern"
	"polity.run/saga"
)

// checker holds one run against what the destination counted.
type checker struct {
	e        *entry
	o        polity.Outcome
	ops      map[string]*count
	all      tally                     // of all runs
	baseline map[string]polity.Outcome // of the examples, undisturbed
	violate  func(violation)
}

func (k *checker) want(expected string, found any) {
	text, ok := found.(string)
	if !ok {
		data, err := json.Marshal(found)
		if err != nil {
			data = []byte(err.Error())
		}
		text = string(data)
	}
	counted, _ := json.Marshal(k.ops) // numbers and texts
	k.violate(violation{Run: k.e.id, Expected: k.e.kind.name + ": " + expected, Found: fmt.Sprintf("%s; the destination counted %s", text, counted)})
}

// of is what was counted of an effect; none if it was never asked for.
func (k *checker) of(op string) count {
	if c := k.ops[op]; c != nil {
		return *c
	}
	return count{}
}

func (k *checker) cancelled() bool { return k.e.cancelAfter > 0 }

// check is what holds for every run, and then what its kind promises.
func (k *checker) check() {
	if !k.o.Status.Final() {
		k.want("a final status", k.o)
	}
	for op, c := range k.ops {
		switch {
		case c.Class == "external" && c.Asked > 1:
			k.want("the external effect "+op+" is asked for at most once", k.o)
		case c.Class == "keyed" && len(c.Keys) > 1:
			k.want("the keyed effect "+op+" has one key", k.o)
		}
	}
	if most := k.e.request.Bounds.Turns; most > 0 && k.o.Usage.Turns > most {
		k.want(fmt.Sprintf("at most %d turns", most), k.o)
	}
	if !k.hadNoRoom() {
		k.e.kind.check(k)
	}
}

// hadNoRoom says whether steps of the run failed because the disk was full, as they may: then it promises less.
func (k *checker) hadNoRoom() bool {
	why := []byte(syscall.ENOSPC.Error())
	return bytes.Contains(k.o.Output, why) || k.o.Fault != nil && bytes.Contains([]byte(k.o.Fault.Text), why)
}

// completed says whether the run may be judged by what it did, and that it has completed then.
func (k *checker) completed() bool {
	if k.cancelled() && k.o.Status == polity.StatusCancelled {
		return false
	}
	if k.o.Status != polity.StatusCompleted {
		k.want("it completes", k.o)
		return false
	}
	return true
}

func (k *checker) once(ops ...string) {
	for _, op := range ops {
		if k.of(op).Done != 1 {
			k.want(op+" is done once", k.o)
		}
	}
}

// external says of an external effect that its run and the destination tell the same: done, or nobody knows.
func (k *checker) external(op string, ok bool, f *fault.Error) {
	switch {
	case ok && k.of(op).Done != 1:
		k.want(op+", which succeeded, is done once", k.o)
	case !ok && (f == nil || f.Kind != fault.Unknown):
		k.want(op+" succeeds or ends as unknown", k.o)
	}
}

func checkHub(k *checker) {
	if !k.completed() {
		return
	}
	k.once("ledger", "script", "index")
	var r pattern.HubResult
	if err := json.Unmarshal(k.o.Output, &r); err != nil {
		k.want("a result of a hub", err.Error())
		return
	}
	for _, s := range r.Details.Steps {
		if s.ID == "mailer" || s.ID == "post" {
			k.external(s.ID, s.Status == "ok", s.Fault)
		}
	}
}

func checkBounded(k *checker) {
	done := 0
	for _, c := range k.ops {
		if c.Asked > 0 {
			done++
		}
	}
	if most := k.e.request.Bounds.Turns; done > most {
		k.want(fmt.Sprintf("at most %d effects", most), k.o)
	}
}

func checkSaga(k *checker) {
	undo := [][2]string{{"seat", "unseat"}, {"bank", "refund"}, {"courier", "recall"}}
	if k.o.Status == polity.StatusCompleted {
		k.once("seat", "bank", "courier", "printer")
		for _, pair := range undo {
			if k.of(pair[1]).Asked > 0 {
				k.want(pair[0]+" is not undone, as nothing failed", k.o)
			}
		}
		if k.e.fail {
			k.want("it fails, as the printer has no paper", k.o)
		}
		return
	}
	cancelled := k.cancelled() && k.o.Status == polity.StatusCancelled
	var r pattern.SequenceResult
	err := json.Unmarshal(k.o.Output, &r)
	if done := k.of("seat").Done > 0; err != nil || r.Saga == nil || r.Saga.Status != saga.Compensated {
		if !cancelled || done {
			k.want("it is compensated", k.o)
		}
		return
	}
	if kind := k.o.Fault.Kind; !cancelled && kind != fault.Unknown && (kind != fault.Conflict || !k.e.fail) {
		k.want("it fails only where the printer has no paper, or nobody knows of the courier", k.o)
	}
	for _, pair := range undo {
		did, undid := k.of(pair[0]), k.of(pair[1])
		if did.Done > 0 && undid.Done != 1 {
			k.want(pair[0]+", which was done, is undone once", k.o)
		}
		if did.Class == "keyed" && did.Done == 0 && undid.Asked > 0 && !cancelled { // that it was not done nobody may know
			k.want(pair[0]+" is not undone, as it was not done", k.o)
		}
	}
	if k.e.fail && k.of("printer").Done > 0 {
		k.want("the printer printed nothing", k.o)
	}
}

func checkParallel(k *checker) {
	if k.completed() {
		k.once("left", "right")
	}
}

func checkClerk(k *checker) {
	if k.completed() && k.of("index").Asked == 0 {
		k.want("index is asked for", k.o)
	}
}

func checkCareful(k *checker) {
	if denied(k.e.id) && k.of("note").Asked > 0 {
		k.want("what was denied is not asked for", k.o)
	}
	if k.completed() && !denied(k.e.id) && k.of("note").Asked == 0 {
		k.want("what was approved is asked for", k.o)
	}
}

func checkErrand(k *checker) {
	if k.completed() {
		k.once("parcel")
	}
}

func checkTick(k *checker) {
	if k.completed() {
		k.once("clock")
	}
}

// checkFork lets a fork end as it will: where nothing outside may be done, too few steps may succeed.
func checkFork(k *checker) {
	for op, c := range k.ops {
		if c.Class == "keyed" || c.Class == "external" {
			k.want("a fork does no effect such as "+op, k.o)
		}
	}
}

// checkExample compares with what the same request answered when nothing disturbed it.
func checkExample(k *checker) {
	if want, got := essence(k.baseline[k.e.kind.name]), essence(k.o); !bytes.Equal(want, got) {
		k.want("what an undisturbed run answers, "+string(want), string(got))
	}
}

// essence is what of the examples' outcomes depends on no time and no ID.
func essence(o polity.Outcome) []byte {
	var all struct {
		Status  string          `json:"status"`
		Summary string          `json:"summary"`
		Results []string        `json:"results"`
		Gaps    []string        `json:"gaps"`
		Stopped string          `json:"stopped"`
		Verdict json.RawMessage `json:"verdict"`
	}
	if len(o.Output) > 0 {
		if err := json.Unmarshal(o.Output, &all); err != nil {
			return []byte(err.Error())
		}
	}
	var verdict struct{ Outcome, Answer, By string }
	if len(all.Verdict) > 0 {
		if err := json.Unmarshal(all.Verdict, &verdict); err != nil {
			return []byte(err.Error())
		}
	}
	slices.Sort(all.Results)
	return fmt.Appendf(nil, "%s: %s, %s, %q, %q; %s, %+v", o.Status, all.Status, all.Summary, all.Results, all.Gaps, all.Stopped, verdict)
}
