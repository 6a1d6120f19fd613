package wire

import (
	"encoding/json"

	"polity.run/model"
)

// readChat reads a chat completion's request and says what breaks its rules.
func readChat(raw []byte) (model.Request, string) {
	var in struct {
		Model    string `json:"model"`
		Messages []struct {
			Role       string `json:"role"`
			Content    any    `json:"content"`
			ToolCallID string `json:"tool_call_id"`
			ToolCalls  []struct {
				ID       string `json:"id"`
				Type     string `json:"type"`
				Function struct {
					Name      string `json:"name"`
					Arguments string `json:"arguments"`
				} `json:"function"`
			} `json:"tool_calls"`
		} `json:"messages"`
		MaxTokens           int64 `json:"max_tokens"`
		MaxCompletionTokens int64 `json:"max_completion_tokens"`
		Stream              bool  `json:"stream"`
		Tools               []struct {
			Type     string `json:"type"`
			Function struct {
				Name        string          `json:"name"`
				Description string          `json:"description"`
				Parameters  json.RawMessage `json:"parameters"`
			} `json:"function"`
		} `json:"tools"`
		ResponseFormat *struct {
			Type       string `json:"type"`
			JSONSchema struct {
				Name   string          `json:"name"`
				Schema json.RawMessage `json:"schema"`
			} `json:"json_schema"`
		} `json:"response_format"`
	}
	var out model.Request
	if err := json.Unmarshal(raw, &in); err != nil {
		return out, err.Error()
	}
	out.OutputMax = max(in.MaxTokens, in.MaxCompletionTokens)
	switch {
	case in.Model == "":
		return out, "you must provide a model parameter"
	case len(in.Messages) == 0:
		return out, "messages: must not be empty"
	case !in.Stream:
		return out, "this server only streams"
	case in.MaxTokens > 0 && in.MaxCompletionTokens > 0:
		return out, "max_tokens and max_completion_tokens cannot both be set"
	}
	if f := in.ResponseFormat; f != nil {
		if f.Type == "json_schema" && (!toolName.MatchString(f.JSONSchema.Name) || !json.Valid(f.JSONSchema.Schema)) {
			return out, "response_format: json_schema needs a name and a schema"
		}
		out.Schema = f.JSONSchema.Schema
	}
	offered := map[string]bool{}
	for i, t := range in.Tools {
		if t.Type != "function" || !toolName.MatchString(t.Function.Name) || offered[t.Function.Name] {
			return out, problem("tools[%d]: name %q", i, t.Function.Name)
		}
		offered[t.Function.Name] = true
		out.Tools = append(out.Tools, model.Offer{Name: t.Function.Name, Description: t.Function.Description, Input: t.Function.Parameters})
	}
	open := map[string]bool{}
	for i, m := range in.Messages {
		text, _ := m.Content.(string)
		one := model.Message{Role: model.Role(m.Role), Text: text, Call: m.ToolCallID}
		if m.Role == "tool" {
			if !open[m.ToolCallID] {
				return out, problem("messages[%d]: tool_call_id %q answers no call of the message before", i, m.ToolCallID)
			}
			delete(open, m.ToolCallID)
			out.Messages = append(out.Messages, one)
			continue
		}
		if len(open) > 0 {
			return out, problem("messages[%d]: an assistant message with tool_calls must be followed by tool messages for each of them", i)
		}
		switch m.Role {
		case "system", "developer", "user":
			if _, ok := m.Content.(string); !ok {
				return out, problem("messages[%d]: content is missing", i)
			}
		case "assistant":
			if text == "" && len(m.ToolCalls) == 0 {
				return out, problem("messages[%d]: content or tool_calls is missing", i)
			}
			for _, c := range m.ToolCalls {
				if c.ID == "" || open[c.ID] || c.Type != "function" || !toolName.MatchString(c.Function.Name) {
					return out, problem("messages[%d]: tool call %q of %q", i, c.ID, c.Function.Name)
				}
				open[c.ID] = true
				one.Calls = append(one.Calls, model.Call{ID: c.ID, Name: c.Function.Name, Input: model.CallInput(c.Function.Arguments)})
			}
		default:
			return out, problem("messages[%d]: role %q", i, m.Role)
		}
		out.Messages = append(out.Messages, one)
	}
	if len(open) > 0 {
		return out, "the last tool calls are not answered"
	}
	return out, ""
}

type object map[string]any

// chatEvents are the chunks of an answer.
func chatEvents(r Reply) []string {
	var events []string
	chunk := func(choices []object, usage any) {
		data, err := json.Marshal(object{
			"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "wire-1", "choices": choices, "usage": usage,
		})
		if err != nil {
			panic(err) // nothing in it cannot be written
		}
		events = append(events, "data: "+string(data)+"\n\n")
	}
	delta := func(d object, stop any) { chunk([]object{{"index": 0, "delta": d, "finish_reason": stop}}, nil) }
	delta(object{"role": "assistant", "content": ""}, nil)
	events = append(events, ": keep-alive\n\n")
	if r.Text != "" {
		for _, p := range pieces(r.Text) {
			delta(object{"content": p}, nil)
		}
	}
	for i, c := range r.Calls {
		delta(object{"tool_calls": []object{{"index": i, "id": c.ID, "type": "function", "function": object{"name": c.Name, "arguments": ""}}}}, nil)
		for _, p := range pieces(string(c.Input)) {
			delta(object{"tool_calls": []object{{"index": i, "function": object{"arguments": p}}}}, nil)
		}
	}
	stop := r.Stop
	switch {
	case stop != "":
	case len(r.Calls) > 0:
		stop = "tool_calls"
	default:
		stop = "stop"
	}
	if r.Refusal != "" {
		delta(object{"refusal": r.Refusal}, nil)
	}
	delta(object{}, stop)
	if !r.NoUsage {
		chunk([]object{}, object{
			"prompt_tokens": r.Input, "completion_tokens": r.Output, "total_tokens": r.Input + r.Output,
			"prompt_tokens_details": object{"cached_tokens": r.Cached},
		})
	}
	return append(events, "data: [DONE]\n\n")
}
