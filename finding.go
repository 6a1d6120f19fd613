package polity

import (
	"encoding/json"

	"polity.run/fault"
)

// ReceiptMax is the longest receipt, in bytes of JSON.
const ReceiptMax = 2 << 10

// Verdict says what became of an effect that was in doubt.
type Verdict string

// The verdicts.
const (
	VerdictUnknown Verdict = "unknown"  // nobody knows
	VerdictDone    Verdict = "done"     // it was done
	VerdictNotDone Verdict = "not_done" // it was not done, and what was sent before will not do it any more
	VerdictUndone  Verdict = "undone"   // it was done, and was taken back since: only a person says so
)

// Finding is what was found out about an effect in doubt.
type Finding struct {
	Verdict Verdict         `json:"verdict"`
	Output  json.RawMessage `json:"output,omitempty"`  // with VerdictDone: what the effect would have answered
	Receipt json.RawMessage `json:"receipt,omitempty"` // what the destination gave as proof
	By      string          `json:"by,omitempty"`      // who found it: "tool NAME", or a person
	Reason  string          `json:"reason,omitempty"`
}

// Check returns nil, or an Invalid fault for a finding that says nothing or contradicts itself.
func (f *Finding) Check() error {
	switch f.Verdict {
	case VerdictDone:
	case VerdictUnknown, VerdictNotDone, VerdictUndone:
		if len(f.Output) > 0 {
			return fault.Invalid.New("verdict %s: it has an output; only what was done has one", f.Verdict)
		}
	default:
		return fault.Invalid.New("verdict %.80q: want done, not_done, undone or unknown", f.Verdict)
	}
	if len(f.Output) > 0 && !json.Valid(f.Output) {
		return fault.Invalid.New("output is not JSON: %.80q", f.Output)
	}
	return CheckReceipt(f.Receipt)
}

// CheckReceipt returns nil, or an Invalid fault for a receipt that is no JSON or too long. None at all is allowed.
func CheckReceipt(receipt json.RawMessage) error {
	if len(receipt) > ReceiptMax {
		return fault.Invalid.New("receipt of %d bytes; the most is %d", len(receipt), ReceiptMax)
	}
	if len(receipt) > 0 && !json.Valid(receipt) {
		return fault.Invalid.New("receipt is not JSON: %.80q", receipt)
	}
	return nil
}
