package manifest

import (
	"encoding/json"

	"go.yaml.in/yaml/v3"

	"polity.run/fault"
)

// YAML writes what JSON would be written of, with its names in the same order, for people.
func YAML(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fault.Internal.New("write YAML: %w", err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil { // every JSON text is YAML, too
		return nil, fault.Internal.New("write YAML: %w", err)
	}
	unquoted(&node)
	data, err = yaml.Marshal(&node)
	if err != nil {
		return nil, fault.Internal.New("write YAML: %w", err)
	}
	return data, nil
}

// unquoted takes the braces and quotes away that JSON needs.
func unquoted(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		unquoted(c)
	}
}
