package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	frameEvery = 100 * time.Millisecond // a live picture is drawn at most this often
	widthElse  = 80                     // of a terminal that does not say
	heightElse = 24
)

// screen is stderr: lines that stay and, on a terminal, a picture below them that is drawn over and over. Its
// methods are safe for concurrent use.
type screen struct {
	mu      sync.Mutex
	w       io.Writer
	moves   bool // the cursor can be moved
	styled  bool
	picture func(columns, rows, frame int) []string // nil for none
	drawn   int                                     // lines of the picture that are on the screen
	frame   int
	quit    chan struct{}
	done    chan struct{}
}

func newScreen(w io.Writer) *screen {
	return &screen{w: w, moves: isTerminal(w) && os.Getenv("TERM") != "dumb", styled: styled(w)}
}

// say writes a line. What is said about a failing stderr could not be read either, so that is not reported.
func (s *screen) say(format string, args ...any) {
	_, _ = s.Write(fmt.Appendf(nil, format+"\n", args...))
}

// Write writes whole lines above the picture.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	n, err := s.w.Write(p)
	s.draw()
	return n, err
}

// show draws a picture again and again until hide.
func (s *screen) show(picture func(columns, rows, frame int) []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.picture, s.quit, s.done = picture, make(chan struct{}), make(chan struct{})
	s.draw()
	go s.animate(s.quit, s.done)
}

func (s *screen) animate(quit, done chan struct{}) {
	defer close(done)
	tick := time.NewTicker(frameEvery)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
			s.mu.Lock()
			s.frame++
			s.erase()
			s.draw()
			s.mu.Unlock()
		}
	}
}

// hide takes the picture away.
func (s *screen) hide() {
	s.mu.Lock()
	quit, done := s.quit, s.done
	s.erase()
	s.picture, s.quit = nil, nil
	s.mu.Unlock()
	if quit != nil {
		close(quit)
		<-done
	}
}

func (s *screen) erase() {
	if s.drawn > 0 {
		s.put(fmt.Sprintf("\x1b[%dA\r\x1b[J", s.drawn))
	}
	s.drawn = 0
}

func (s *screen) draw() {
	if s.picture == nil {
		return
	}
	columns, rows := s.size()
	lines := s.picture(columns, rows, s.frame)
	s.drawn = len(lines)
	s.put(strings.Join(lines, "\n") + "\n")
}

// put writes. See say for its error.
func (s *screen) put(text string) { _, _ = io.WriteString(s.w, text) }

func (s *screen) size() (columns, rows int) {
	if f, ok := s.w.(*os.File); ok {
		if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 && rows > 0 {
			return columns, rows
		}
	}
	return widthElse, heightElse
}
