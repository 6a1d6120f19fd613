package tool

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"

	"polity.run"
	"polity.run/fault"
)

var receiptName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$%&'*+.^_|~/-]{0,127}$`)

// checkReceipt checks Spec.Receipt.
func checkReceipt(receipt string) error {
	if receipt == "" || !strings.HasPrefix(receipt, "$") && receiptName.MatchString(receipt) {
		return nil
	}
	if err := CheckPath(receipt); err != nil {
		return fault.Invalid.New("receipt: %w, or a name as X-Request-Id", err)
	}
	return nil
}

// CheckPathReceipt refuses a receipt that is no path, for tools whose output is all that there is of them.
func (s Spec) CheckPathReceipt() error {
	if s.Receipt == "" {
		return nil
	}
	if err := CheckPath(s.Receipt); err != nil {
		return fault.Invalid.New("receipt: %w", err)
	}
	return nil
}

// Proof is a call's receipt: what the tool told of it, with what its specification names of the output, under the path. Nil if that is nothing.
// One that is longer than polity.ReceiptMax is kept as its digest.
func (s Spec) Proof(told, output json.RawMessage) json.RawMessage {
	if strings.HasPrefix(s.Receipt, "$") {
		if named, ok := Lookup(output, s.Receipt); ok {
			told = with(told, s.Receipt, named)
		}
	}
	if len(told) == 0 || !json.Valid(told) {
		return nil
	}
	if len(told) > polity.ReceiptMax {
		sum := sha256.Sum256(told)
		return encode(map[string]any{"sha256": hex.EncodeToString(sum[:]), "bytes": len(told)})
	}
	return told
}

// with adds a field to an object. What is no object becomes the field "told" of one.
func with(object json.RawMessage, name string, value json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil && len(object) > 0 {
		fields = map[string]json.RawMessage{"told": object}
	}
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	fields[name] = value
	out, err := json.Marshal(fields)
	if err != nil {
		return nil // told is no JSON: it was refused
	}
	return out
}
