package agent

import (
	"bytes"
	"encoding/json"
	"strings"

	"polity.run/fault"
	"polity.run/schema"
)

// releaseUpcasts make release documents of older formats into the present one, each time they are read: their digests, which runs are pinned
// to, are those of what was stored.
var releaseUpcasts = schema.Upcasts[json.RawMessage]{}

// ReadRelease reads a stored release. It returns fault.Invalid for one that a newer version of this program made: what it says of
// agents and is not known here, as that something needs approval, must not be left out.
func ReadRelease(doc []byte) (*Release, error) { return readRelease(doc, releaseUpcasts) }

func readRelease(doc []byte, upcasts schema.Upcasts[json.RawMessage]) (*Release, error) {
	head := struct {
		Format int `json:"format"`
	}{1}
	if err := json.Unmarshal(doc, &head); err != nil {
		return nil, fault.Damaged.New("release: %w", err)
	}
	current, err := upcasts.Read(doc, head.Format, schema.Range{From: 1, To: upcasts.Newest()})
	if err != nil {
		return nil, fault.Of(err).Kind.New("release: format: %w", err)
	}
	var r Release
	d := json.NewDecoder(bytes.NewReader(current))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		if strings.Contains(err.Error(), "unknown field") {
			return nil, fault.Invalid.New("release: %w; a newer version of this program made it?", err)
		}
		return nil, fault.Damaged.New("release: %w", err)
	}
	return &r, nil
}
