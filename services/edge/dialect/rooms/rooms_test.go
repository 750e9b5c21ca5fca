package rooms_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/services/edge/dialect/dialecttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTranscripts(t *testing.T) {
	everywhere(t, func(t *testing.T, h *house) {
		for _, scene := range []string{"http", "broadcast"} {
			dialecttest.Replay(t, "testdata/"+scene+".txt", h.config())
		}
	})
}
