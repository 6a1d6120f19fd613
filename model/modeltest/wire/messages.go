package wire

import (
	"encoding/json"
	"net/http"

	"polity.run/model"
)

// readMessages reads a request of the Messages API and says what breaks its rules.
func readMessages(raw []byte, header http.Header) (model.Request, string) {
	type block struct {
		Type      string          `json:"type"`
		Text      string          `json:"text"`
		ID        string          `json:"id"`
		Name      string          `json:"name"`
		Input     json.RawMessage `json:"input"`
		ToolUseID string          `json:"tool_use_id"`
		Content   string          `json:"content"`
		IsError   bool            `json:"is_error"`
		Cache     json.RawMessage `json:"cache_control"`
	}
	var in struct {
		Model     string  `json:"model"`
		MaxTokens int64   `json:"max_tokens"`
		Stream    bool    `json:"stream"`
		System    []block `json:"system"`
		Messages  []struct {
			Role    string  `json:"role"`
			Content []block `json:"content"`
		} `json:"messages"`
		Tools []struct {
			Name        string          `json:"name"`
			Description string          `json:"description"`
			InputSchema json.RawMessage `json:"input_schema"`
		} `json:"tools"`
		ToolChoice struct {
			Type string `json:"type"`
			Name string `json:"name"`
		} `json:"tool_choice"`
	}
	var out model.Request
	if err := json.Unmarshal(raw, &in); err != nil {
		return out, err.Error()
	}
	out.OutputMax = in.MaxTokens
	switch {
	case header.Get("Anthropic-Version") == "":
		return out, "anthropic-version: header is required"
	case in.Model == "":
		return out, "model: Field required"
	case in.MaxTokens < 1:
		return out, "max_tokens: Field required"
	case len(in.Messages) == 0:
		return out, "messages: at least one message is required"
	case in.Messages[0].Role != "user":
		return out, "messages: first message must use the \"user\" role"
	case !in.Stream:
		return out, "this server only streams"
	}
	offered := map[string]bool{}
	for i, t := range in.Tools {
		if !toolName.MatchString(t.Name) || offered[t.Name] {
			return out, problem("tools.%d.name: %q", i, t.Name)
		}
		var s struct {
			Type string `json:"type"`
		}
		if json.Unmarshal(t.InputSchema, &s) != nil || s.Type != "object" {
			return out, problem("tools.%d.input_schema.type: must be object", i)
		}
		offered[t.Name] = true
		if t.Name == "answer" {
			out.Schema = t.InputSchema
			continue
		}
		out.Tools = append(out.Tools, model.Offer{Name: t.Name, Description: t.Description, Input: t.InputSchema})
	}
	if in.ToolChoice.Type == "tool" && !offered[in.ToolChoice.Name] {
		return out, problem("tool_choice: no tool %q", in.ToolChoice.Name)
	}
	marks := 0
	for _, b := range in.System {
		if b.Type != "text" || b.Text == "" {
			return out, "system: text content blocks must be non-empty"
		}
		if len(b.Cache) > 0 {
			marks++
		}
		out.Messages = append(out.Messages, model.Message{Role: model.System, Text: b.Text})
	}
	open := map[string]bool{}
	for i, m := range in.Messages {
		if m.Role != "user" && m.Role != "assistant" {
			return out, problem("messages.%d.role: %q", i, m.Role)
		}
		calls := model.Message{Role: model.Assistant}
		for j, b := range m.Content {
			if len(b.Cache) > 0 {
				marks++
			}
			if len(open) > 0 && b.Type != "tool_result" {
				return out, problem("messages.%d: tool_use ids were found without tool_result blocks immediately after", i)
			}
			switch b.Type {
			case "text":
				if b.Text == "" {
					return out, problem("messages.%d.content.%d: text content blocks must be non-empty", i, j)
				}
				out.Messages = append(out.Messages, model.Message{Role: model.Role(m.Role), Text: b.Text})
			case "tool_use":
				var input map[string]any
				if m.Role != "assistant" || b.ID == "" || !toolName.MatchString(b.Name) || json.Unmarshal(b.Input, &input) != nil {
					return out, problem("messages.%d.content.%d: tool_use %q of %q with %s", i, j, b.ID, b.Name, b.Input)
				}
				calls.Calls = append(calls.Calls, model.Call{ID: b.ID, Name: b.Name, Input: b.Input})
			case "tool_result":
				if m.Role != "user" || !open[b.ToolUseID] {
					return out, problem("messages.%d.content.%d: unexpected tool_use_id %q", i, j, b.ToolUseID)
				}
				delete(open, b.ToolUseID)
				out.Messages = append(out.Messages, model.Message{Role: model.Tool, Call: b.ToolUseID, Text: b.Content, Failed: b.IsError})
			default:
				return out, problem("messages.%d.content.%d.type: %q", i, j, b.Type)
			}
		}
		if len(open) > 0 {
			return out, problem("messages.%d: a tool_use has no tool_result", i)
		}
		for _, c := range calls.Calls {
			if open[c.ID] {
				return out, problem("messages.%d: tool_use ids must be unique", i)
			}
			open[c.ID] = true
		}
		if len(calls.Calls) > 0 {
			out.Messages = append(out.Messages, calls)
		}
	}
	switch {
	case len(open) > 0:
		return out, "the last tool_use has no tool_result"
	case marks > 4:
		return out, "a maximum of 4 blocks with cache_control may be provided"
	}
	return out, ""
}

// messageEvents are the events of an answer. Text that answers a schema comes as the input of the tool answer where Calls has it so.
func messageEvents(r Reply) []string {
	var events []string
	event := func(kind string, data object) {
		data["type"] = kind
		text, err := json.Marshal(data)
		if err != nil {
			panic(err) // nothing in it cannot be written
		}
		events = append(events, "event: "+kind+"\ndata: "+string(text)+"\n\n")
	}
	usage := func(output int64) object {
		if r.NoUsage {
			return object{}
		}
		return object{"input_tokens": r.Input - r.Cached, "output_tokens": output, "cache_read_input_tokens": r.Cached, "cache_creation_input_tokens": 0}
	}
	event("message_start", object{"message": object{
		"id": "msg_1", "type": "message", "role": "assistant", "model": "wire-1", "content": []any{}, "usage": usage(1),
	}})
	event("ping", object{})
	n := 0
	if r.Text != "" {
		event("content_block_start", object{"index": n, "content_block": object{"type": "text", "text": ""}})
		for _, p := range pieces(r.Text) {
			event("content_block_delta", object{"index": n, "delta": object{"type": "text_delta", "text": p}})
		}
		event("content_block_stop", object{"index": n})
		n++
	}
	for _, c := range r.Calls {
		event("content_block_start", object{"index": n, "content_block": object{"type": "tool_use", "id": c.ID, "name": c.Name, "input": object{}}})
		for _, p := range pieces(string(c.Input)) {
			event("content_block_delta", object{"index": n, "delta": object{"type": "input_json_delta", "partial_json": p}})
		}
		event("content_block_stop", object{"index": n})
		n++
	}
	stop := r.Stop
	switch {
	case stop != "":
	case r.Refusal != "":
		stop = "refusal"
	case len(r.Calls) > 0:
		stop = "tool_use"
	default:
		stop = "end_turn"
	}
	u := object{"output_tokens": r.Output}
	if r.NoUsage {
		u = object{}
	}
	event("message_delta", object{"delta": object{"stop_reason": stop}, "usage": u})
	event("message_stop", object{})
	return events
}
