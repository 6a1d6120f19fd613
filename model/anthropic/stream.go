package anthropic

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"polity.run/fault"
)

const lineMax = 1 << 20 // bytes of one line of a stream

// event is one event of a stream, as far as it matters.
type event struct {
	Type    string `json:"type"`
	Index   int    `json:"index"`
	Message struct {
		Model string `json:"model"`
		Usage usage  `json:"usage"`
	} `json:"message"`
	ContentBlock struct {
		Type  string          `json:"type"`
		ID    string          `json:"id"`
		Name  string          `json:"name"`
		Text  string          `json:"text"`
		Input json.RawMessage `json:"input"`
	} `json:"content_block"`
	Delta struct {
		Type        string `json:"type"`
		Text        string `json:"text"`
		PartialJSON string `json:"partial_json"`
		StopReason  string `json:"stop_reason"`
	} `json:"delta"`
	Usage usage   `json:"usage"`
	Error failure `json:"error"`
}

type usage struct {
	Input   *int64 `json:"input_tokens"`
	Output  *int64 `json:"output_tokens"`
	Read    *int64 `json:"cache_read_input_tokens"`
	Written *int64 `json:"cache_creation_input_tokens"`
}

// read reads server-sent events (WHATWG HTML, 9.2) up to the message's end.
func (a *answer) read(from io.Reader) error {
	in := bufio.NewReaderSize(from, 64<<10)
	var data []byte
	for !a.ended {
		line, err := readLine(in)
		a.received += int64(len(line))
		if err != nil && len(line) == 0 {
			if errors.Is(err, io.EOF) {
				return fault.Unavailable.New("the answer broke off")
			}
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) > 0 {
			if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
				data = append(data, bytes.TrimPrefix(value, []byte(" "))...)
			}
			continue
		}
		if len(data) == 0 {
			continue
		}
		var e event
		if err := json.Unmarshal(data, &e); err != nil {
			return fault.Unavailable.New("a broken answer: %w", err)
		}
		data = data[:0]
		if err := a.add(&e); err != nil {
			return err
		}
	}
	return nil
}

// readLine reads a line with its end. One that is too long is an error.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > lineMax:
			return nil, fault.Exceeded("output", "a broken answer: a line of more than %d bytes", lineMax)
		case errors.Is(err, bufio.ErrBufferFull):
		default:
			return line, err
		}
	}
}

func (a *answer) add(e *event) error {
	switch e.Type {
	case "message_start":
		a.model = e.Message.Model
		a.count(e.Message.Usage)
	case "content_block_start":
		if e.Index != len(a.blocks) || len(a.blocks) > callsMax {
			return fault.Unavailable.New("a broken answer: block %d after %d", e.Index, len(a.blocks))
		}
		p := &part{kind: e.ContentBlock.Type, id: e.ContentBlock.ID, name: e.ContentBlock.Name}
		a.blocks = append(a.blocks, p)
		a.say(p, e.ContentBlock.Text)
		if len(e.ContentBlock.Input) > 0 && string(bytes.TrimSpace(e.ContentBlock.Input)) != "{}" {
			p.text.Write(e.ContentBlock.Input)
		}
	case "content_block_delta":
		if e.Index < 0 || e.Index >= len(a.blocks) {
			return fault.Unavailable.New("a broken answer: words for block %d of %d", e.Index, len(a.blocks))
		}
		p := a.blocks[e.Index]
		switch e.Delta.Type {
		case "text_delta":
			a.say(p, e.Delta.Text)
		case "input_json_delta":
			p.text.WriteString(e.Delta.PartialJSON)
		}
	case "message_delta":
		if e.Delta.StopReason != "" {
			a.stop = e.Delta.StopReason
		}
		a.count(e.Usage)
	case "message_stop":
		if a.stop == "" {
			return fault.Unavailable.New("a broken answer: it does not say why it ends")
		}
		a.ended = true
	case "error":
		return &streamError{e.Error}
	}
	return nil
}

func (a *answer) say(p *part, text string) {
	if text == "" {
		return
	}
	p.text.WriteString(text)
	if a.live != nil && p.kind == "text" {
		a.live(text)
	}
}

// count takes the newest figures, which are totals.
func (a *answer) count(u usage) {
	for _, f := range []struct {
		from *int64
		to   *int64
	}{{u.Input, &a.in}, {u.Output, &a.out}, {u.Read, &a.cached}, {u.Written, &a.written}} {
		if f.from != nil && *f.from >= 0 {
			*f.to, a.told = *f.from, true
		}
	}
}
