package bus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
)

// openDesks opens two desks of one account: what the second puts on x.> and ans.> comes to the first.
func openDesks(t *testing.T, h Hearing) (hears, speaks *Desk) {
	t.Helper()
	d, err := OpenDoor(DoorConfig{
		Listen: "127.0.0.1:0", Refused: func(polity.Refusal) {},
		Admit: func(string) (Guest, error) { return Guest{}, fault.Unauthenticated.New("nobody") },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	for _, k := range []**Desk{&hears, &speaks} {
		if *k, err = d.Desk("shop", h); err != nil {
			t.Fatal(err)
		}
		t.Cleanup((*k).Close)
		h = Hearing{Away: h.Away}
	}
	return hears, speaks
}

func TestDesk(t *testing.T) {
	took, now, away := make(chan Parcel, 8), make(chan Parcel, 8), make(chan string, 8)
	hears, speaks := openDesks(t, Hearing{
		Subjects: []string{"x.>", "y"}, Take: func(p Parcel) { took <- p }, Direct: "ans.>", Now: func(p Parcel) { now <- p }, Away: func(token string) { away <- token },
	})
	big := bytes.Repeat([]byte("0123456789"), 50_000)
	for _, c := range []struct {
		put, want Parcel
		to        chan Parcel
	}{
		{Parcel{Subject: "x.1"}, Parcel{Subject: "x.1", Data: []byte{}}, took},
		{Parcel{Subject: "y", Reply: "z", Data: []byte("a\r\nMSG x 1 1\r\n")}, Parcel{Subject: "y", Reply: "z", Data: []byte("a\r\nMSG x 1 1\r\n")}, took},
		{Parcel{Subject: "x.2", Header: map[string][]string{"ce-Id": {"1", " 2"}}, Lines: []byte("a: b\r\n"), Data: big}, Parcel{Subject: "x.2", Header: map[string][]string{"ce-Id": {"1", "2"}, "a": {"b"}}, Data: big}, took},
		{Parcel{Subject: "ans.1", Reply: "r", Lines: []byte("a: b\r\n")}, Parcel{Subject: "ans.1", Reply: "r", Header: map[string][]string{"a": {"b"}}, Data: []byte{}}, now},
	} {
		if err := speaks.Put(c.put, ""); err != nil {
			t.Fatal(err)
		}
		if p := <-c.to; !reflect.DeepEqual(p, c.want) {
			t.Errorf("put %+.300v: came as %+.300v", c.put, p)
		}
	}
	for _, c := range []Parcel{
		{}, {Subject: "x 1"}, {Subject: "x\r\nPUB y 0"}, {Subject: "x", Reply: "a\r\n"}, {Subject: "x.1", Data: make([]byte, LetterMax+1)},
		{Subject: "x.1", Header: map[string][]string{"a": {"b\r\nc: d"}}}, {Subject: "x.1", Header: map[string][]string{"a: ": {"b"}}},
	} {
		if err := speaks.Put(c, ""); !errors.Is(err, fault.Invalid) {
			t.Errorf("put %+.80v: %v", c, err)
		}
	}
	if err := speaks.Put(Parcel{Subject: "nobody"}, "t1"); err != nil {
		t.Fatal(err)
	}
	if token := <-away; token != "t1" {
		t.Error(token)
	}
	// Both are cut, and come back with what they heard before.
	for _, k := range []*Desk{hears, speaks} {
		was := k.wire.Load()
		if err := was.conn.Close(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(20 * time.Second); k.wire.Load() == was; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("it does not come back")
			}
		}
	}
	if err := speaks.Put(Parcel{Subject: "x.3"}, ""); err != nil {
		t.Fatal(err)
	}
	if p := <-took; p.Subject != "x.3" {
		t.Errorf("after the cut: %+v", p)
	}
}

// TestDeskOfMany has many put at once, large and small, and wants everything to come, and what one puts in its order.
func TestDeskOfMany(t *testing.T) {
	const many, each = 16, 100
	came := make(chan Parcel, many*each)
	_, speaks := openDesks(t, Hearing{Subjects: []string{"x.>"}, Take: func(p Parcel) { came <- p }})
	var all sync.WaitGroup
	for who := range many {
		all.Go(func() {
			for i := range each {
				if err := speaks.Put(Parcel{Subject: fmt.Sprint("x.", who), Data: fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", who*i*8))}, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	next := map[string]int{}
	for range many * each {
		p := <-came
		var i int
		if _, err := fmt.Sscan(string(p.Data), &i); err != nil || i != next[p.Subject] {
			t.Fatalf("%s: %.20q %v, want %d", p.Subject, p.Data, err, next[p.Subject])
		}
		next[p.Subject]++
	}
}

// FuzzWire reads what no server says.
func FuzzWire(f *testing.F) {
	for _, s := range []string{
		"MSG x 1 3\r\nabc\r\n", "HMSG x 2 r 16 17\r\nNATS/1.0 503\r\n\r\nx\r\n", "PING\r\nMSG x\r\n", "MSG x 1 -1\r\n", "HMSG x 1 9 1\r\n", "MSG a b c d e f g\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		conn, other := net.Pipe()
		defer other.Close()
		w := &wire{conn: conn, in: bufio.NewReader(bytes.NewReader(said)), kick: make(chan struct{}, 1)}
		w.room.L = &w.mu
		w.read(func(_ int, p Parcel) {
			if len(p.Data) > len(said) {
				t.Errorf("%d bytes of %d", len(p.Data), len(said))
			}
		})
	})
}
