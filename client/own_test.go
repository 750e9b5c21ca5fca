package client //nolint:testpackage // what a client remembers is its own

import (
	"testing"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// The client gives back what it had of its own addresses: as the server said, as messages came, and as gaps were told.
func TestClient_givesBackWhereItsOwnAddressesStood(t *testing.T) {
	c := remembering()
	places := func() map[string]string {
		all := map[string]string{}
		for _, o := range c.places() {
			all[o.GetAddress()] = o.GetPosition().GetEpoch()
		}
		return all
	}
	c.stand([]*edgev1.OwnAddress{{Address: "users/ada", Position: at("e1", 4)}, {Address: "groups/g1"}}, true)
	m := message("users/ada", "0198c0de-0000-7000-8000-000000000001", at("e1", 5))
	m.AckRequired = true
	if !c.advance(m) || len(places()) != 1 || c.places()[0].GetPosition().GetOffset() != 5 {
		t.Errorf("after a message: %v", c.places())
	}
	c.stand([]*edgev1.OwnAddress{{Address: "clients/c1", Position: at("e9", 1)}}, false)
	if got := places(); got["users/ada"] != "e1" || got["clients/c1"] != "e9" {
		t.Errorf("after a refresh: %v", got)
	}
	c.jump(&publishv1.Gap{Address: "users/ada", To: at("e2", 0)})
	if got := places(); got["users/ada"] != "e2" {
		t.Errorf("after a gap: %v", got)
	}
	c.jump(&publishv1.Gap{Address: "users/ada"})
	if _, ok := places()["users/ada"]; ok {
		t.Error("what is gone was given back")
	}
	c.stand(nil, true)
	if len(places()) != 0 {
		t.Errorf("the server named none: %v", places())
	}
}
