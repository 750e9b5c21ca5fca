package publish_test

import (
	"testing"

	"github.com/google/uuid"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/publish"
)

// An id is the server's own, whatever the key: one key on several addresses, or of several publishers, makes several messages.
func TestPublish_idsAreTheServersOwn(t *testing.T) {
	s, err := publish.New(memory.New(memory.Config{}), publish.Config{Namespaces: bus.Namespaces{Default: bus.DefaultNamespace()}})
	testkit.Check(t, err)
	pattern, err := bus.ParsePattern("channels/*")
	testkit.Check(t, err)
	client := func(name string) *rpc.Caller {
		return &rpc.Caller{Name: name, Identity: &bus.Identity{Client: name, Grants: []bus.Grant{{Pattern: pattern, Actions: bus.Publish}}}}
	}
	seen := map[string]string{}
	for who, caller := range map[string]*rpc.Caller{"ada": client("ada"), "bob": client("bob"), "a back end": rpc.Backend("key", rpc.ScopeAll), "another": rpc.Backend("other", rpc.ScopeAll)} {
		for _, to := range []string{"channels/a", "channels/b"} {
			req := &publishv1.PublishRequest{To: to, Data: []byte(`"the same"`), IdempotencyKey: "1"}
			first, err := s.Publish(rpc.WithCaller(t.Context(), caller), req)
			testkit.Check(t, err)
			again, err := s.Publish(rpc.WithCaller(t.Context(), caller), req)
			testkit.Check(t, err)
			if first.GetDuplicate() || !again.GetDuplicate() || again.GetId() != first.GetId() {
				t.Errorf("%s to %s: %v, then %v", who, to, first, again)
			}
			if id, err := uuid.Parse(first.GetId()); err != nil || id.Version() != 7 || id.Variant() != uuid.RFC4122 {
				t.Errorf("the id is %s", first.GetId())
			}
			if other, ok := seen[first.GetId()]; ok {
				t.Errorf("%s to %s has the id of %s", who, to, other)
			}
			seen[first.GetId()] = who + " to " + to
		}
	}
}
