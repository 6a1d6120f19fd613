package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// debaterText debates, and writes down what it was asked. One that is told to wait does so in its first round, once, and says so.
const debaterText = `#!/bin/sh
asked=$(cat)
case $asked in *'"duty":"open"'*) duty=open ;; *) duty=respond ;; esac
echo "$1 $duty" >> "$DIR/asked"
if [ "$2 $duty" = "waits respond" ] && [ ! -e "$DIR/waited" ]; then
	: > "$DIR/waited"
	echo began > "$DIR/began"
	exec sleep 10
fi
printf '{"statement":"%s says %s."}\n' "$1" "$duty"
`

const debateJudgeText = `#!/bin/sh
case $(cat) in
*'"candidate":"A","position":"It is."'*) echo '{"verdict":"A","reasons":"it is"}' ;;
*) echo '{"verdict":"B","reasons":"it is"}' ;;
esac
`

// TestKillInADebate kills the program with SIGKILL while a debater answers in a round, and starts the same command again. The debate goes on
// in that round: nobody opens twice, and the judge sees both positions.
func TestKillInADebate(t *testing.T) {
	polity, dir := program(t), t.TempDir()
	manifest, state, began := filepath.Join(dir, "polity.yaml"), filepath.Join(dir, "state"), filepath.Join(dir, "began")
	write(t, filepath.Join(dir, "debater.sh"), debaterText, 0o700)
	write(t, filepath.Join(dir, "judge.sh"), debateJudgeText, 0o700)
	write(t, manifest, strings.ReplaceAll(`polity: v1
name: house
agents:
  pro: {command: [./debater.sh, pro, answers], effect: none, env: ["DIR=FOLDER"], sandbox: {off: true}} # they write down what they are asked
  con: {command: [./debater.sh, con, waits], effect: none, env: ["DIR=FOLDER"], sandbox: {off: true}}
  arbiter: {command: [./judge.sh], effect: none}
org:
  pattern: debate
  debaters: [{agent: pro, position: It is.}, {agent: con, position: It is not.}]
  judge: arbiter
  rounds: 1
`, "FOLDER", dir), 0o600)
	if err := syscall.Mkfifo(began, 0o600); err != nil {
		t.Fatal(err)
	}
	first := command(polity, manifest, state, "")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	ended, waits := make(chan error, 1), make(chan error, 1)
	go func() { ended <- first.Wait() }()
	go func() {
		_, err := os.ReadFile(began) // until the debater is at it
		waits <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("the program ended before it could be killed: %v", err)
	case err := <-waits:
		if err := errors.Join(err, first.Process.Kill()); err != nil {
			t.Fatal(err)
		}
		<-ended
	}

	again := command(polity, manifest, state, "")
	var out, notes bytes.Buffer
	again.Stdout, again.Stderr = &out, &notes
	if err := again.Run(); err != nil {
		t.Fatalf("%v\n%s", err, notes.String())
	}
	var r struct {
		Output struct {
			Stopped string
			Verdict struct{ Outcome, Answer, By string }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	if v := r.Output.Verdict; v.Outcome != "winner" || v.Answer != "It is." || v.By != "judge" || r.Output.Stopped != "rounds" {
		t.Errorf("%+v", r.Output)
	}
	asked, err := os.ReadFile(filepath.Join(dir, "asked"))
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]int{"pro open": 1, "con open": 1, "con respond": 2} {
		if got := strings.Count(string(asked), what+"\n"); got != want {
			t.Errorf("%s: asked %d times, want %d:\n%s", what, got, want, asked)
		}
	}
}
