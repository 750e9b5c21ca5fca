package relay_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/services/edge/dialect/dialecttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Transcripts of the older relay, in memory and on Redis with two edges.
func TestTranscripts(t *testing.T) {
	speaks := apptest.With(func(c *config.Config) { c.Legacy.Dialects, c.Legacy.Open = []string{"relay"}, true })
	for name, opts := range map[string][]apptest.Option{
		"memory": {speaks},
		"redis":  {speaks, apptest.Redis(redistest.Start(t).URL()), apptest.Split(2)},
	} {
		t.Run(name, func(t *testing.T) {
			h := apptest.Start(t, opts...)
			cfg := dialecttest.Config{HTTP: h.Legacy["relay.http"]}
			for _, p := range h.Processes {
				if at := p.Legacy["legacy.relay.websocket_listen"]; at != "" {
					cfg.Addresses = append(cfg.Addresses, at)
				}
			}
			dialecttest.Replay(t, "testdata/*.txt", cfg)
		})
	}
}
