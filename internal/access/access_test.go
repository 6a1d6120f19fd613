package access_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"polity.run/fault"
	"polity.run/internal/access"
)

// TestDecide goes through every role, verb and object: what is not written here is denied.
func TestDecide(t *testing.T) {
	allowed := map[access.Role][]access.Verb{
		access.Viewer:   {access.Read},
		access.Operator: {access.Read, access.Operate},
		access.Approver: {access.Read, access.Answer},
		access.Admin:    {access.Read, access.Operate, access.Manage},
	}
	objects := map[string]access.Object{
		"own org": {Org: "shop"}, "own run": {Org: "shop", Run: "0-a"}, "other org": {Org: "bank"}, "other run": {Org: "bank", Run: "0-b"}, "node": {},
		"some org": access.Somewhere(), "an org of that name": {Org: "?"}, "an org of all": {Org: "*"}, "run of nobody knows": {Run: "0-c"},
	}
	n := 0
	for _, role := range access.Roles() {
		for _, everywhere := range []bool{false, true} {
			who := access.Who{ID: "key:1", Name: "ann", Grants: []access.Grant{{Org: "shop", Role: role}}}
			if everywhere {
				who.Grants[0].Org = access.Everywhere
			}
			for name, o := range objects {
				for _, v := range access.Verbs() {
					n++
					want := slices.Contains(allowed[role], v) && (everywhere || o.Org == "shop" || o.Later())
					switch v {
					case access.Public, access.Greet:
						want = true
					case access.Node:
						want = role == access.Admin && everywhere
					}
					if got := access.Decide(who, v, o); got.Allowed != want || got.Allowed == (got.Err() != nil) {
						t.Errorf("%s everywhere=%t %s %s: %+v, want allowed %t", role, everywhere, v, name, got, want)
					}
				}
			}
		}
	}
	if n != 4*2*9*7 {
		t.Errorf("%d cases were tried", n)
	}
}

// TestDecideTellsNothing wants a run of others to be as one that there is not, and nobody to be told apart from a verb that there is not.
func TestDecideTellsNothing(t *testing.T) {
	ann := access.Who{ID: "key:1", Name: "ann", Grants: []access.Grant{{Org: "shop", Role: access.Viewer}}}
	foreign := access.Decide(ann, access.Read, access.Object{Org: "bank", Run: "0-b"}).Err()
	missing := access.Decide(ann, access.Read, access.Object{Run: "0-b"}).Err()
	if !errors.Is(foreign, fault.NotFound) || fmt.Sprint(foreign) != fmt.Sprint(missing) {
		t.Errorf("a run of others: %v; one that is not there: %v", foreign, missing)
	}
	if err := access.Decide(ann, access.Operate, access.Object{Org: "shop", Run: "0-a"}).Err(); !errors.Is(err, fault.Denied) {
		t.Errorf("a run that ann may read and not operate: %v", err)
	}
	for _, v := range []access.Verb{"", "raed", access.Read, access.Node, access.Greet} {
		err := access.Decide(access.Who{}, v, access.Object{Org: "shop"}).Err()
		if !errors.Is(err, fault.Unauthenticated) && !errors.Is(err, fault.Denied) {
			t.Errorf("nobody may %q: %v", v, err)
		}
		if err := access.Decide(access.TheOwner("root"), v, access.Object{}).Err(); (v == "" || v == "raed") && !errors.Is(err, fault.Denied) {
			t.Errorf("the owner may %q, which is no verb: %v", v, err)
		}
	}
}

func TestGives(t *testing.T) {
	admin := access.Who{ID: "key:1", Name: "ann", Grants: []access.Grant{{Org: "shop", Role: access.Admin}}}
	for text, want := range map[string]bool{
		"shop=admin": true, "shop=operator": true, "shop=viewer": true, "shop=approver": false, "bank=viewer": false, "viewer": false, "admin": false,
	} {
		g, err := access.ParseGrant(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := admin.Gives(g); (err == nil) != want {
			t.Errorf("an admin of shop gives %s: %v", text, err)
		}
		if err := access.TheOwner("root").Gives(g); err != nil {
			t.Errorf("the owner gives %s: %v", text, err)
		}
	}
	for _, text := range []string{"", "shop=", "=viewer", "?=viewer", "shop=viewr", "viewr"} {
		if _, err := access.ParseGrant(text); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
