package engine

import (
	"encoding/json"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/work"
)

// approving is the skill of every person: to let an action go, or not.
func approving() (skill, error) {
	out, err := check(json.RawMessage(polity.DecisionSchema))
	in := func(data json.RawMessage) error {
		_, err := readApproval(data)
		return err
	}
	return skill{in: in, out: out}, err
}

func readApproval(data json.RawMessage) (*polity.Approval, error) {
	var a polity.Approval
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, fault.Invalid.New("approval: %w", err)
	}
	return &a, a.Check()
}

// deciding checks a decision. One that approves another action than the hash is of is refused, so that the question stays open.
func deciding(fits work.Check, hash string) work.Check {
	return func(answer json.RawMessage) error {
		if err := fits(answer); err != nil {
			return err
		}
		var d polity.Decision
		if err := json.Unmarshal(answer, &d); err != nil {
			return fault.Invalid.New("%w", err)
		}
		if d.Approve {
			return d.Approves(hash)
		}
		return nil
	}
}
