// Package replay records what models were asked and answered, and answers from the recording later.
//
// It exists so that an organization with language models is tested without a provider, and tells when what it asks has changed.
//
//	record: request -> model -> response, and both into the file
//	replay: request -> the same request in the file -> its response; none is an error that shows the nearest one
//
// Requests are the same if they are equal but for the run's ID and the attempt of a call, which stand in the sources of messages.
package replay

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"

	"polity.run/fault"
	"polity.run/model"
)

// Limits of a recording.
const (
	FileMax      = 256 << 20 // bytes
	ExchangesMax = 100_000
	lineMax      = 32 << 20 // bytes of one exchange
	diffMax      = 60       // lines of a difference that are shown
	diffWide     = 200      // bytes of a line of it
	compareMax   = 2000     // lines of a request that are compared
)

const format = 1

type header struct {
	Recording int `json:"polity_recording"`
}

// exchange is one line of a recording.
type exchange struct {
	Model    string          `json:"model"`
	Request  json.RawMessage `json:"request"`
	Response *model.Response `json:"response,omitempty"`
	Fault    *fault.Error    `json:"fault,omitempty"`
}

var (
	runText     = regexp.MustCompile(`\b[0-9]+-[a-z2-7]{24}\b`)
	attemptText = regexp.MustCompile(`(0-RUN(?:/[A-Za-z0-9._-]+)*#[A-Za-z0-9._-]+)~[0-9]+`)
)

// normal writes a request as it is compared.
func normal(r model.Request) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return nil, fault.Invalid.New("replay: request: %w", err)
	}
	out := runText.ReplaceAll(bytes.TrimSpace(b.Bytes()), []byte("0-RUN"))
	return attemptText.ReplaceAll(out, []byte("$1")), nil
}

type digest [sha256.Size]byte

func digestOf(name string, request []byte) digest {
	return sha256.Sum256(append([]byte(name+"\x00"), request...))
}

// Recorder writes what models answer into a file. It is safe for concurrent use. Close it.
type Recorder struct {
	mu   sync.Mutex
	file *os.File
	err  error // the first that could not be told to whoever asked
}

// Record makes a recording. A file that is there already is fault.Conflict: nothing is overwritten.
func Record(path string) (*Recorder, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	switch {
	case errors.Is(err, os.ErrExist):
		return nil, fault.Conflict.New("record: %s is there already; delete it, or name another file", path)
	case err != nil:
		return nil, fault.Denied.New("record: %w", err)
	}
	r := &Recorder{file: f}
	if err := r.write(header{format}); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func (r *Recorder) write(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fault.Internal.New("record: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.file.Write(b.Bytes()); err != nil {
		err = fault.Full.New("record: %w", err)
		if r.err == nil {
			r.err = err
		}
		return err
	}
	return nil
}

// Close ends the recording and returns why it is not whole, if it is not.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.err, r.file.Sync(), r.file.Close())
}

// Wrap returns the model, recorded. What it answers does not depend on whether it can be recorded.
func (r *Recorder) Wrap(m model.Model) model.Model { return &recorded{m, r} }

type recorded struct {
	model.Model
	to *Recorder
}

// Unwrap returns the model itself.
func (r *recorded) Unwrap() model.Model { return r.Model }

func (r *recorded) Answer(ctx context.Context, q model.Request) (model.Response, error) {
	out, err := r.Model.Answer(ctx, q)
	if errors.Is(err, fault.Cancelled) {
		return out, err // that says nothing of the model
	}
	request, wrong := normal(q)
	if wrong == nil {
		_ = r.to.write(exchange{Model: r.Name(), Request: request, Response: &out, Fault: fault.Of(err)}) // Close tells
	}
	return out, err
}

// Recording answers as models did. It is safe for concurrent use.
type Recording struct {
	path string

	mu   sync.Mutex
	all  []exchange
	by   map[digest][]int // in the order of recording
	next map[digest]int
}

// Open reads a recording. It returns fault.NotFound if there is none and fault.Invalid, with the line, for what is none.
func Open(path string) (*Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.NotFound.New("replay: %w", err)
	}
	defer f.Close()
	r, err := read(f)
	if err != nil {
		return nil, fault.Of(err).Kind.New("replay: %s: %w", path, err)
	}
	r.path = path
	return r, nil
}

func read(from io.Reader) (*Recording, error) {
	r := &Recording{by: map[digest][]int{}, next: map[digest]int{}}
	in := bufio.NewScanner(io.LimitReader(from, FileMax+1))
	in.Buffer(nil, lineMax)
	total := 0
	for n := 1; in.Scan(); n++ {
		if total += len(in.Bytes()) + 1; total > FileMax || n > ExchangesMax {
			return nil, fault.Invalid.New("line %d: more than %d bytes or %d exchanges", n, FileMax, ExchangesMax)
		}
		if n == 1 {
			var h header
			if err := strict(in.Bytes(), &h); err != nil || h.Recording != format {
				return nil, fault.Invalid.New("line 1: not a recording of version %d; want {\"polity_recording\":%d}", format, format)
			}
			continue
		}
		var e exchange
		if err := strict(in.Bytes(), &e); err != nil {
			return nil, fault.Invalid.New("line %d: %w", n, err)
		}
		var q model.Request
		if err := strict(e.Request, &q); err != nil {
			return nil, fault.Invalid.New("line %d: request: %w", n, err)
		}
		request, err := normal(q) // as this version writes it
		if err != nil {
			return nil, fault.Invalid.New("line %d: %w", n, err)
		}
		if e.Model == "" || e.Response == nil && e.Fault == nil {
			return nil, fault.Invalid.New("line %d: an exchange needs a model, and a response or a fault", n)
		}
		e.Request = request
		d := digestOf(e.Model, request)
		r.by[d] = append(r.by[d], len(r.all))
		r.all = append(r.all, e)
	}
	if err := in.Err(); err != nil {
		return nil, fault.Invalid.New("%w", err)
	}
	if total == 0 {
		return nil, fault.Invalid.New("the file is empty")
	}
	return r, nil
}

// strict decodes JSON without unknown fields.
func strict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// Wrap returns a model with the name of m that answers from the recording; m itself is asked nothing.
func (r *Recording) Wrap(m model.Model) model.Model { return r.Model(m.Name()) }

// Model returns the recorded model with the name. A request that was recorded several times is answered in that order, and
// then with the last answer. One that was not is fault.NotFound, with what differs from the nearest one that was.
func (r *Recording) Model(name string) model.Model { return &replayed{name, r} }

type replayed struct {
	name string
	from *Recording
}

func (p *replayed) Name() string { return p.name }

func (p *replayed) Answer(ctx context.Context, q model.Request) (model.Response, error) {
	if ctx.Err() != nil {
		return model.Response{}, model.Ended(ctx, p.name)
	}
	request, err := normal(q)
	if err != nil {
		return model.Response{}, err
	}
	r := p.from
	d := digestOf(p.name, request)
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.by[d]
	if len(found) == 0 {
		return model.Response{}, fault.NotFound.New("replay: %s has no such request of model %s; %s", r.path, p.name, r.nearest(p.name, request))
	}
	i := min(r.next[d], len(found)-1)
	r.next[d]++
	e := r.all[found[i]]
	var out model.Response
	if e.Response != nil {
		out = *e.Response
	}
	if e.Fault != nil {
		return out, e.Fault
	}
	if q.Live != nil {
		var text string
		if json.Unmarshal(out.Output, &text) == nil {
			q.Live(text)
		}
	}
	return out, nil
}

// nearest words what differs from the recorded request that is most like this one.
func (r *Recording) nearest(name string, request json.RawMessage) string {
	asked := lines(request)
	best, score := -1, -1.0
	for i, e := range r.all {
		if e.Model != name {
			continue
		}
		if s := alike(asked, lines(e.Request)); s > score {
			best, score = i, s
		}
	}
	if best < 0 {
		return "nothing was recorded of this model"
	}
	return fmt.Sprintf("the nearest one is in line %d (- recorded, + asked now):\n%s", best+2, difference(lines(r.all[best].Request), asked))
}

// lines writes a request for a person to compare.
func lines(raw json.RawMessage) []string {
	var q model.Request
	if json.Unmarshal(raw, &q) != nil {
		return []string{string(raw)}
	}
	var out []string
	add := func(mark, text string) {
		for line := range strings.SplitSeq(text, "\n") {
			if len(out) < compareMax {
				out = append(out, mark+line)
			}
		}
	}
	for _, m := range q.Messages {
		mark := string(m.Role) + ": "
		if m.Source != "" || m.Call != "" {
			mark = fmt.Sprintf("%s %s%s: ", m.Role, m.Source, m.Call)
		}
		add(mark, m.Text)
		for _, c := range m.Calls {
			add("calls ", fmt.Sprintf("%s %s", c.Name, c.Input))
		}
	}
	for _, t := range q.Tools {
		add("tool ", fmt.Sprintf("%s: %s %s", t.Name, t.Description, t.Input))
	}
	add("schema ", string(q.Schema))
	add("output_max ", fmt.Sprint(q.OutputMax))
	return out
}

// alike is the part of lines that two have in common (Dice's coefficient).
func alike(a, b []string) float64 {
	count := map[string]int{}
	for _, l := range a {
		count[l]++
	}
	same := 0
	for _, l := range b {
		if count[l] > 0 {
			count[l]--
			same++
		}
	}
	return 2 * float64(same) / float64(len(a)+len(b))
}

// difference is what differs between two lists of lines, by their longest common subsequence, without what is the same.
func difference(old, now []string) string {
	long := make([][]int, len(old)+1)
	for i := range long {
		long[i] = make([]int, len(now)+1)
	}
	for i := len(old) - 1; i >= 0; i-- {
		for j := len(now) - 1; j >= 0; j-- {
			if old[i] == now[j] {
				long[i][j] = long[i+1][j+1] + 1
			} else {
				long[i][j] = max(long[i+1][j], long[i][j+1])
			}
		}
	}
	var out []string
	put := func(mark, line string) {
		if len(line) > diffWide {
			line = strings.ToValidUTF8(line[:diffWide], "") + "…"
		}
		out = append(out, mark+line)
	}
	i, j := 0, 0
	for i < len(old) || j < len(now) {
		switch {
		case i < len(old) && j < len(now) && old[i] == now[j]:
			i, j = i+1, j+1
		case j == len(now) || i < len(old) && long[i+1][j] >= long[i][j+1]:
			put("- ", old[i])
			i++
		default:
			put("+ ", now[j])
			j++
		}
	}
	if len(out) > diffMax {
		out = append(out[:diffMax], fmt.Sprintf("… %d more lines differ", len(out)-diffMax))
	}
	return strings.Join(out, "\n")
}
