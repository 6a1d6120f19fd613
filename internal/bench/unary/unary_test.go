package unary_test

import (
	"testing"

	"polity.run/internal/bench/unary"
)

func TestEcho(t *testing.T) {
	e, err := unary.Open()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := e.Ask(t.Context(), []byte("word")); err != nil || string(out) != "word" {
		t.Errorf("%q, %v", out, err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
