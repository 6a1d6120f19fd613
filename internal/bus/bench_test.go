package bus_test

import (
	"fmt"
	"testing"
)

// BenchmarkAppend appends one at a time.
func BenchmarkAppend(b *testing.B) {
	data := make([]byte, 200)
	_, l, acks := open(b, b.TempDir())
	prev := ""
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		id := fmt.Sprintf("%043d", i)
		if err := l.Append(data, id, prev, 0, 0); err != nil {
			b.Fatal(err)
		}
		if a := <-acks; a.Err != nil {
			b.Fatal(a.Err)
		}
		prev = id
	}
}
