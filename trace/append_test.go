package trace

import "testing"

// TestAppendParent wants a place to be written without an allocation: it is, with every run that has a caller's.
func TestAppendParent(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03"
	c, err := Parse(parent, "")
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(10, func() { b = c.AppendParent(b[:0]) }); n != 0 || string(b) != parent || c.Parent() != parent {
		t.Errorf("%v allocations, %q", n, b)
	}
	if b = (Context{}).AppendParent(nil); len(b) != 0 {
		t.Errorf("the zero Context: %q", b)
	}
}
