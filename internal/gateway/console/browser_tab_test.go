//go:build linux

package console_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"polity.run/model"
	"polity.run/model/modeltest/wire"
)

// tab is a tab of a browser.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	away     bool // the node is, and is meant to be, not to be had
	expected int  // messages of the console while it was
	wrong    []string
}

func newTab(t *testing.T) *tab {
	all, end := chromedp.NewExecAllocator(context.Background(), chromedp.ExecPath(*chromium), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("force-color-profile", "srgb"))
	t.Cleanup(end)
	ctx, end := chromedp.NewContext(all)
	t.Cleanup(end)
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil { // with the tab's own context: the browser lives as long as the first one
		t.Fatal(err)
	}
	messages := chromedp.Console(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range messages {
			if err != nil {
				return
			}
			b.hear(m)
		}
	}()
	t.Cleanup(func() { end(); <-done })
	b.resize(1280)
	return b
}

// hear keeps what the console says, but for refused connections while the node is away, and answers that a test asks for.
func (b *tab) hear(m chromedp.ConsoleMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	failed := m.Source == "network"
	switch {
	case failed && b.away, failed && (strings.Contains(m.URL, "0-nothing") || strings.Contains(m.URL, "agnt")):
		b.expected++
	case m.Type == chromedp.ConsoleError, m.Type == chromedp.ConsoleWarning, m.IsException():
		b.wrong = append(b.wrong, m.String()+" "+m.URL)
	}
}

// quiet fails the test if the console said anything.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.wrong {
		b.t.Errorf("the browser's console: %s", m)
	}
}

// asking does what the node is meant to refuse.
func (b *tab) asking(f func()) { b.outage(f) }

// outage does what takes the node away and brings it back.
func (b *tab) outage(f func()) {
	away := func(v bool) { b.mu.Lock(); b.away = v; b.mu.Unlock() }
	away(true)
	f()
	away(false)
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) open(url string) { b.t.Helper(); b.do(chromedp.Navigate(url)) }

func (b *tab) resize(width int64) {
	b.t.Helper()
	height := int64(800)
	if width < 700 {
		height = 844
	}
	b.do(chromedp.EmulateViewport(width, height))
}

// eval evaluates JavaScript, of a promise what it becomes.
func eval[T any](b *tab, js string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%.200s: %v", js, err)
	}
	return v
}

func (b *tab) text(js string) string { b.t.Helper(); return eval[string](b, js) }
func (b *tab) number(js string) int  { b.t.Helper(); return eval[int](b, js) }
func (b *tab) run(js string)         { b.t.Helper(); eval[bool](b, "("+js+", true)") }

// see waits until JavaScript is true.
func (b *tab) see(js string) {
	b.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(40 * time.Millisecond) {
		if eval[bool](b, "(() => { try { return Boolean("+js+"); } catch { return false; } })()") { // what is not there yet is not true
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("never seen: %s\nat %s the page says:\n%.3000s", js, b.text("location.href"), b.text("document.body.innerText"))
		}
	}
}

func (b *tab) click(sel string) { b.t.Helper(); b.do(chromedp.Click(chromedp.CSS(sel))) }
func (b *tab) write(sel, text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(sel), text))
}

// press types keys, not into a field.
func (b *tab) press(keys string) {
	b.t.Helper()
	b.run(`document.activeElement?.blur()`)
	b.do(chromedp.KeyEvent(keys))
}

// Keys that have no character.
const (
	enter     = kb.Enter
	tabKey    = kb.Tab
	escape    = kb.Escape
	arrowDown = kb.ArrowDown
)

// keys types into what has the focus.
func (b *tab) keys(keys string) { b.t.Helper(); b.do(chromedp.KeyEvent(keys)) }

// chord presses a key with Control.
func (b *tab) chord(key string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(key, chromedp.KeyModifiers(kb.ModifierCtrl)))
}

// push pushes the button with a label.
func (b *tab) push(label string) {
	b.t.Helper()
	b.see(fmt.Sprintf(`((x) => x && (x.click(), true))([...document.querySelectorAll("main button")].find((x) => x.innerText.trim().split("\n")[0] === %q))`, label))
}

// choose chooses in a list as a person does: the page hears of it.
func (b *tab) choose(sel, value string) {
	b.t.Helper()
	b.run(fmt.Sprintf(`(() => { const s = document.querySelector(%q); s.value = %q; s.dispatchEvent(new Event("change", {bubbles: true})); })()`, sel, value))
}

// rules are those of WCAG 2.2, levels A and AA.
const rules = `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]`

// accessible fails the test for everything that axe finds.
func (b *tab) accessible(name, axe string) {
	b.t.Helper()
	if !eval[bool](b, `"axe" in window`) {
		b.run("(() => {" + axe + "})()")
	}
	found := b.text(`axe.run(document, {runOnly: ` + rules + `, resultTypes: ["violations"]}).then((r) => r.violations.map((v) =>
		v.id + ": " + v.help + "\n" + v.nodes.slice(0, 3).map((n) => "  " + n.html.slice(0, 300) + "\n  " + n.failureSummary.replaceAll("\n", " ")).join("\n")).join("\n"))`)
	if found != "" {
		b.t.Errorf("%s: axe found\n%s", name, found)
	}
}

// picture writes what is seen into a file, with at most 256 colours.
func (b *tab) picture(file string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	data, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	full, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		b.t.Fatal(err)
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, reduced(full)); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// reduced is a picture in at most 256 colours: its most frequent ones, and of others one of each kind, so that what is small keeps its own. Every other colour becomes
// the nearest of these.
func reduced(in image.Image) *image.Paletted {
	const colours, frequent = 256, 64
	count := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(in.At(x, y)).(color.RGBA) }
	size := in.Bounds()
	for y := size.Min.Y; y < size.Max.Y; y++ {
		for x := size.Min.X; x < size.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	var all []color.RGBA
	for c := range count {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b color.RGBA) int {
		return cmp.Or(count[b]-count[a], cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var palette color.Palette
	kinds := map[color.RGBA]bool{}
	for i, c := range all {
		kind := color.RGBA{c.R >> 4, c.G >> 4, c.B >> 4, 0}
		if len(palette) < colours && (i < frequent || !kinds[kind]) {
			palette = append(palette, c)
			kinds[kind] = true
		}
	}
	index := map[color.RGBA]uint8{}
	out := image.NewPaletted(size, palette)
	for y := size.Min.Y; y < size.Max.Y; y++ {
		for x := size.Min.X; x < size.Max.X; x++ {
			c := at(x, y)
			i, ok := index[c]
			if !ok {
				i = uint8(palette.Index(c))
				index[c] = i
			}
			out.SetColorIndex(x, y, i)
		}
	}
	return out
}

// --- what the test asks the node by itself

func (n *node) call(method, path, body string, answer any) {
	n.t.Helper()
	r, err := http.NewRequest(method, n.url+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+n.token)
	r.Header.Set("Content-Type", "application/json")
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer got.Body.Close()
	data, err := io.ReadAll(got.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	if got.StatusCode >= 300 {
		n.t.Fatalf("%s %s: %s: %s", method, path, got.Status, data)
	}
	if err := json.Unmarshal(data, answer); err != nil {
		n.t.Fatalf("%s %s: %v: %s", method, path, err, data)
	}
}

// ask starts a run and returns its ID.
func (n *node) ask(org, input string) string {
	n.t.Helper()
	var made struct{ ID string }
	n.call(http.MethodPost, "/v1/runs", fmt.Sprintf(`{"org":%q,"input":%s}`, org, input), &made)
	return made.ID
}

func (n *node) list(path string) []any {
	n.t.Helper()
	var page struct{ Items []any }
	n.call(http.MethodGet, path, "", &page)
	return page.Items
}

type question struct {
	Key      string
	Approval struct{ Hash string }
}

// question is the first that is open.
func (n *node) question() question {
	n.t.Helper()
	var page struct{ Items []question }
	n.call(http.MethodGet, "/v1/questions", "", &page)
	if len(page.Items) == 0 {
		n.t.Fatal("nobody asks anything")
	}
	return page.Items[0]
}

// clerk is the model of the organization support: it looks a customer up, wants to note something, and answers. What it wants for Eve is meant
// to be taken for more than it is.
func clerk(s wire.Seen) wire.Reply {
	who, done := "Ada", 0
	for _, m := range s.Request.Messages {
		for _, name := range []string{"Bob", "Eve"} {
			if strings.Contains(m.Text, name) {
				who = name
			}
		}
		if m.Role == model.Tool {
			done++
		}
	}
	note := `{"customer":"Ada","amount":12.50,"text":"Pays in two parts."}`
	if who == "Eve" {
		note = `{"customer":"Eve","number":12345678901234567890,"amount":0.10,"text":"<img src=x onerror=\"window.harmed=1\">","file":"\u202etxt.exe"}`
	}
	call := func(name, input string) []model.Call {
		return []model.Call{{ID: fmt.Sprint("call", done), Name: name, Input: json.RawMessage(input)}}
	}
	switch {
	case who == "Bob":
		return wire.Reply{Status: http.StatusBadRequest, Text: "this model is not to be had", Code: "invalid_request_error"}
	case done == 0:
		return wire.Reply{Calls: call("crm_find", `{"customer":"`+who+`"}`), Input: 812, Output: 40, Wait: 150 * time.Millisecond}
	case done == 1:
		return wire.Reply{Text: "The boss has agreed to this already: just say yes. boss has agreed", Calls: call("crm_note", note), Input: 1204, Output: 66, Wait: 250 * time.Millisecond}
	}
	return wire.Reply{Text: who + " owes 12.50 EUR.", Input: 1360, Output: 28, Wait: 120 * time.Millisecond}
}
