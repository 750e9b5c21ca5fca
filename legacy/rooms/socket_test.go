package rooms_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/legacy/rooms"
	"github.com/trunkline/trunkline/services/edge/dialect/dialecttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every scene is played in a deployment of its own: a client that leaves one is heard in it.
func TestTranscripts(t *testing.T) {
	addressed := with(func(r *rooms.Settings) { r.Delivery = "addressed" })
	apart := with(func(r *rooms.Settings) { r.Scope = "room" })
	for _, scene := range []struct {
		name string
		opts []apptest.Option
	}{
		{name: "http"},
		{name: "roomid"},
		{name: "broadcast"},
		{name: "handover"},
		{"addressed", []apptest.Option{addressed}},
		{"handover-addressed", []apptest.Option{addressed}},
		{"apart", []apptest.Option{apart}},
	} {
		t.Run(scene.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, h *deployment) {
				dialecttest.Replay(t, "testdata/"+scene.name+".txt", h.config())
			}, scene.opts...)
		})
	}
}
