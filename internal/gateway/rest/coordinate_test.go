package rest_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run/client"
	"polity.run/coordinate"
	"polity.run/fault"
)

func TestCoordinate(t *testing.T) {
	w := open(t, echo())
	call := func(tool, key, input string) client.Coordination {
		return client.Coordination{Do: client.CoordinateCall, Org: "desk", Tool: tool, Agent: "ada", Key: key, Input: json.RawMessage(input)}
	}
	for _, key := range []string{"1", "1", "2"} { // the same key is the same call
		if _, err := w.client.Coordinate(t.Context(), call("counter.add", key, `{"name":"seats","by":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.client.Coordinate(t.Context(), call("counter.get", "3", `{"name":"seats"}`))
	if err != nil || string(got.Output) != `{"value":2}` {
		t.Errorf("%s, %v", got.Output, err)
	}
	if _, err := w.client.Coordinate(t.Context(), call("lock.acquire", "4", `{"name":"door","ttl":"1h"}`)); err != nil {
		t.Fatal(err)
	}
	list, err := w.client.Coordinate(t.Context(), client.Coordination{Do: client.CoordinateList})
	if err != nil || len(list.Locks) != 1 || !list.Locks[0].Held {
		t.Fatalf("%+v, %v", list, err)
	}
	released, err := w.client.Coordinate(t.Context(), client.Coordination{Do: client.CoordinateRelease, Org: "desk", Kind: coordinate.KindLock, Name: "door"})
	if err != nil || len(released.Locks) != 1 || released.Locks[0].Held || released.Locks[0].Token <= list.Locks[0].Token {
		t.Errorf("%+v, %v", released, err)
	}
	kinds := map[string]fault.Kind{}
	for name, q := range map[string]client.Coordination{
		"nothing": {}, "no key": call("counter.add", "", `{"name":"seats","by":1}`), "another tool": call("files.read", "5", `{"path":"x"}`),
		"no lock":    {Do: client.CoordinateRelease, Org: "desk", Kind: coordinate.KindLeader, Name: "door"},
		"a bad kind": {Do: client.CoordinateRelease, Org: "desk", Kind: "counter", Name: "seats"},
	} {
		_, err := w.client.Coordinate(t.Context(), q)
		if err == nil {
			t.Fatalf("%s: no fault", name)
		}
		kinds[name] = fault.Of(err).Kind
	}
	want := map[string]fault.Kind{
		"nothing": fault.Invalid, "no key": fault.Invalid, "another tool": fault.NotFound, "no lock": fault.NotFound, "a bad kind": fault.Invalid,
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
