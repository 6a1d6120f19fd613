package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"polity.run/fault"
)

func openTopics(t *testing.T, dir string, after uint64) (*Bus, *Topics, bool) {
	t.Helper()
	b, err := Open(t.Context(), Config{Dir: dir, Sync: SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	topics, lost, err := b.Topics(t.Context(), after)
	if err != nil {
		t.Fatal(err)
	}
	return b, topics, lost
}

func publishN(t *testing.T, topics *Topics, topic string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, _, err := topics.Publish(t.Context(), Event{Topic: topic, ID: id, Data: []byte(`{"n":1}`)}, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func idsOf(list []Event) string {
	var ids []string
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	return strings.Join(ids, " ")
}

// TestTopics publishes, reads from positions and times, feeds, and goes on after a restart, and after the stream was lost.
func TestTopics(t *testing.T) {
	dir := t.TempDir()
	b, topics, _ := openTopics(t, dir, 0)
	if _, last, err := topics.Last(t.Context()); last != 0 || err != nil {
		t.Errorf("nothing was published: %d %v", last, err)
	}
	publishN(t, topics, "orders.placed", "a", "b")
	publishN(t, topics, "orders.sent", "c")
	seq, again, err := topics.Publish(t.Context(), Event{Topic: "orders.placed", ID: "a"}, 0)
	if seq != 1 || !again || err != nil {
		t.Errorf("the same ID again: %d %t %v", seq, again, err)
	}
	for pattern, want := range map[string]string{"orders.placed": "a b", "orders.*": "a b c", ">": "a b c", "other": ""} {
		if list, err := topics.Read(t.Context(), pattern, 0, time.Time{}, 10); err != nil || idsOf(list) != want {
			t.Errorf("%s: %q %v", pattern, idsOf(list), err)
		}
	}
	if list, err := topics.Read(t.Context(), ">", 2, time.Time{}, 1); err != nil || idsOf(list) != "b" || list[0].Seq != 2 || list[0].At.IsZero() {
		t.Errorf("from 2: %+v %v", list, err)
	}
	if list, err := topics.Read(t.Context(), ">", 0, time.Now().Add(time.Hour), 10); err != nil || len(list) != 0 {
		t.Errorf("from what is to come: %q %v", idsOf(list), err)
	}
	b.Close()
	b, topics, lost := openTopics(t, dir, 3)
	if lost {
		t.Error("nothing is lost")
	}
	var fed []Event
	stop := errors.New("enough")
	err = topics.Feed(t.Context(), 1, func(e Event) error {
		if fed = append(fed, e); len(fed) == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || idsOf(fed) != "b c" || fed[1].Seq != 3 {
		t.Errorf("fed %q %v", idsOf(fed), err)
	}
	b.Close()
	b, topics, lost = openTopics(t, dir, 10)
	defer b.Close()
	if !lost {
		t.Error("the stream ends before what was taken, and nobody says so")
	}
	if seq, _, err := topics.Publish(t.Context(), Event{Topic: "x", ID: "d"}, 0); seq != 11 || err != nil {
		t.Errorf("after 10 comes %d %v", seq, err)
	}
}

// TestGroups shares events, gives them out again, and makes them dead letters, which only their group gets again.
func TestGroups(t *testing.T) {
	b, topics, _ := openTopics(t, t.TempDir(), 0)
	defer b.Close()
	publishN(t, topics, "orders.placed", "a", "b")
	for _, name := range []string{"g", "other"} {
		g := Group{Name: name, Pattern: "orders.*", From: 1, Tries: 2, Within: time.Minute, Retry: time.Millisecond}
		if err := errors.Join(topics.Join(t.Context(), g), topics.Join(t.Context(), g)); err != nil {
			t.Fatal(err)
		}
	}
	if err := topics.Join(t.Context(), Group{Name: "g", Pattern: "x"}); !errors.Is(err, fault.Conflict) {
		t.Errorf("another pattern: %v", err)
	}
	take := func(group string, want ...string) []Work {
		t.Helper()
		var list []Work
		for range want {
			work, err := topics.Take(t.Context(), group, 1, 5*time.Second)
			if err != nil || len(work) != 1 {
				t.Fatalf("%d events %v", len(work), err)
			}
			list = append(list, work...)
		}
		for i, w := range list {
			if w.ID != want[i] {
				t.Fatalf("got %s, want %s", w.ID, want[i])
			}
		}
		return list
	}
	settle := func(group, token, failed string) {
		t.Helper()
		if err := topics.Settle(t.Context(), group, token, failed); err != nil {
			t.Fatal(err)
		}
	}
	first := take("g", "a", "b")
	settle("g", first[0].Token, "")
	settle("g", first[1].Token, "no")
	second := take("g", "b")
	if second[0].Try != 2 {
		t.Errorf("try %d", second[0].Try)
	}
	settle("g", second[0].Token, "still\r\nno")
	letters, err := topics.Dead(t.Context(), "g", 1, 10)
	if err != nil || len(letters) != 1 || letters[0].ID != "b" || letters[0].Reason != "still no" || letters[0].Origin != 2 || letters[0].Tries != 2 {
		t.Fatalf("%+v %v", letters, err)
	}
	if err := topics.Redo(t.Context(), letters[0]); err != nil {
		t.Fatal(err)
	}
	settle("g", take("g", "b")[0].Token, "")
	if letters, err := topics.Dead(t.Context(), "", 1, 10); err != nil || len(letters) != 0 {
		t.Errorf("%+v %v", letters, err)
	}
	for _, w := range take("other", "a", "b") {
		settle("other", w.Token, "")
	}
	if work, err := topics.Take(t.Context(), "other", 1, 50*time.Millisecond); err != nil || len(work) != 0 {
		t.Errorf("the other group got the letter: %+v %v", work, err)
	}
	if err := topics.Settle(t.Context(), "other", "1.2", ""); !errors.Is(err, fault.Invalid) {
		t.Errorf("a token of nothing: %v", err)
	}
	if _, err := topics.Take(t.Context(), "nobody", 1, time.Millisecond); !errors.Is(err, fault.NotFound) {
		t.Errorf("no such group: %v", err)
	}
	for i := range GroupsMax - 2 {
		if err := topics.Join(t.Context(), Group{Name: fmt.Sprint("g", i), Pattern: ">", Within: time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	if err := topics.Join(context.Background(), Group{Name: "one-more", Pattern: ">"}); !errors.Is(err, fault.Full) {
		t.Errorf("too many groups: %v", err)
	}
}

// FuzzToken wants a token to settle nothing outside of its group.
func FuzzToken(f *testing.F) {
	f.Add("/1.2.3.4.5")
	f.Add("polity.ABC/1.2.3.4.5.6")
	f.Add("../1.2.3.4.5")
	f.Fuzz(func(t *testing.T, token string) {
		reply, _, _, err := replyOf("g", token)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Error(err)
			}
			return
		}
		if !strings.HasPrefix(reply, "$JS.ACK.") || strings.Count(reply, "."+TopicsStream+".group_g.") != 1 || strings.ContainsAny(reply, " *>\r\n") {
			t.Errorf("%q settles %q", token, reply)
		}
	})
}

// TestTopicsReserveNothing wants room for what the topics may have at most, however small the disk is: else they could not be opened there.
func TestTopicsReserveNothing(t *testing.T) {
	b, _, _ := openTopics(t, t.TempDir(), 0)
	defer b.Close()
	if got, want := b.srv.JetStreamConfig().MaxStore, int64(TopicsBytes+DeadBytes)*1000; got < want {
		t.Errorf("the server gives out %d bytes, want far more than %d", got, want)
	}
}
