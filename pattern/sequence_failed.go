package pattern

import (
	"encoding/json"

	"polity.run/fault"
)

// failedName is the command by which a sequence tells that it fails.
const failedName = "failed.publish"

// outcomeRetries is how often an event is published again where others wait for what becomes of a sequence's part: for a minute or so.
const outcomeRetries = 10

// Failure is what a sequence tells on Sequence.Failed, as the field failed of what it was asked about: the data of the event that opened it, or its
// input. So whoever waits for it finds the fields by which it knows what it is about. What is no object stands in a field asked.
type Failure struct {
	Kind fault.Kind `json:"kind"`
	Text string     `json:"text"`
	// Saga is what became of what was done: see saga.Report. Empty if there was nothing to undo.
	Saga string `json:"saga,omitempty"`
}

// tells has it told that the run fails, and reports whether that is under way. It may use what is kept for undoing, as whoever is told may have to undo, too;
// without that the run ends untold.
func (r *sequenceRun) tells() bool {
	if r.cfg.Failed == nil || r.told {
		return false
	}
	r.told = true
	data, err := r.failure()
	if err == nil {
		data, err = publication(r.cfg.Failed, data)
	}
	if err != nil {
		r.stages = append(r.stages, Done{Name: failedName, Fault: fault.Of(err)})
		return false
	}
	r.ask(question{name: failedName, tool: PublishTool, input: data, undo: failedName, retries: outcomeRetries})
	return r.busy()
}

// failure is the data of the event by which it is told that the run fails.
func (r *sequenceRun) failure() (json.RawMessage, error) {
	f := Failure{Kind: r.undo.fault.Kind, Text: clip(r.undo.fault.Text, problemMax)}
	if !r.undo.Empty() {
		f.Saga = r.undo.Report().Status
	}
	var of struct {
		Event string          `json:"event"`
		Data  json.RawMessage `json:"data"`
	}
	asked := r.asked
	if json.Unmarshal(asked, &of) == nil && of.Event == publishedEvent {
		asked = of.Data
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(asked, &fields) != nil || fields == nil {
		fields = map[string]json.RawMessage{"asked": asked}
	}
	told, err := marshal(f)
	if err != nil {
		return nil, err
	}
	fields["failed"] = told
	return marshal(fields)
}

// publishedEvent is how a request says that it tells of an event on a topic: see environ.Topic.
const publishedEvent = "topic.published"
