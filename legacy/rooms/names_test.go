package rooms_test

import (
	"slices"
	"testing"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/testkit"
)

// A list of the members of a room has the ids that they go by, which can be written to.
func TestRooms_presenceShowsIDs(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		h.as(t, 0, "ann")
		h.as(t, 1, "bob")
		testkit.Eventually(t, "both ids are listed", func() bool {
			resp, err := h.Channels.ListMembers(t.Context(), &publishv1.ListMembersRequest{Address: "channels/rooms:all"})
			testkit.Check(t, err)
			var ids []string
			for _, m := range resp.GetMembers() {
				ids = append(ids, m.GetUser())
			}
			return len(ids) == 2 && slices.Contains(ids, "ann") && slices.Contains(ids, "bob")
		})
	})
}

// A client cannot speak as the server does.
func TestRooms_wordsOfTheServer(t *testing.T) {
	h := start(t)
	a, b := h.as(t, 0, "ann"), h.as(t, 0, "bob")
	for _, word := range []string{"error", "newUser", "userDisconnected", "clientID"} {
		a.send(word, map[string]string{"reason": "forged"})
		if reason, _ := a.refusal(); reason != "FIELD_INVALID" {
			t.Errorf("%s is refused with %s", word, reason)
		}
	}
	_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{
		To: "clients/bob", Data: []byte(`{"reason":"forged"}`), Attributes: map[string]string{"command": "error"},
	})
	testkit.Check(t, err)
	if got := b.before(); len(got) != 1 || got[0].Body.Command != "sendMessage" {
		t.Errorf("bob was told %+v", got)
	}
}

// A token of the site's own in the query is none of ours, and the original looked at none.
func TestRooms_foreignToken(t *testing.T) {
	h := start(t)
	h.connect(t, 0, "/ws/1?token=mine", nil).get("newUser")
}
