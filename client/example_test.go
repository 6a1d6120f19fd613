package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"polity.run/client"
	"polity.run/fault"
)

// A process that serves a state folder leaves its address there; any other one of the user can then
// ask it.
func ExampleOpen() {
	state, stop := exampleNode()
	defer stop()

	c, err := client.Open(state)
	if err != nil {
		fmt.Println(err)
		return
	}
	runs, err := c.List(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range runs {
		fmt.Println(r.ID, r.Agent, r.Status)
	}
	_, err = c.Find(context.Background(), "0-nobody")
	fmt.Println(errors.Is(err, fault.NotFound), err)
	// Output:
	// 0-mfrggzdf review-board completed
	// true run: no run "0-nobody"
}

// exampleNode is a state folder and something that answers like a node.
func exampleNode() (state string, stop func()) {
	state, err := os.MkdirTemp("", "client-")
	if err != nil {
		panic(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/summaries" {
			fmt.Fprint(w, `{"runs":[{"id":"0-mfrggzdf","agent":"review-board","status":"completed","opened":"2026-01-02T03:04:05Z","usage":{}}]}`)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"kind":"not-found","detail":"run: no run \"0-nobody\""}`)
	}))
	address, err := json.Marshal(client.Address{URL: s.URL, Token: "secret", PID: 42})
	if err == nil {
		err = os.WriteFile(filepath.Join(state, client.AddressFile), address, 0o600)
	}
	if err != nil {
		panic(err)
	}
	return state, func() {
		s.Close()
		if err := os.RemoveAll(state); err != nil {
			panic(err)
		}
	}
}
