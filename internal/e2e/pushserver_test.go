package e2e_test

import (
	"testing"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// TestFault_pushServerClientScript has our script and the shipped client subscribe in Chromium and in Node, and be pushed to. The
// shipped client has faults of its own: a missing uuid and a handler that is not bound.
func TestFault_pushServerClientScript(t *testing.T) {
	needs(t, modules, chromium)
	redis := redistest.Start(t)
	for name, store := range map[string]string{"memory": "", "redis": redis.URL()} {
		t.Run(name, func(t *testing.T) {
			h := apptest.Start(t, apptest.Redis(store), apptest.With(func(c *config.Config) {
				c.Legacy.Dialects, c.Legacy.Open = []string{"pushserver"}, true
			}))
			script(t, func(line string) {
				if line == "NATIVE" {
					_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/news", Data: []byte(`"natively"`)})
					testkit.Check(t, err)
				}
			}, "node", "testdata/pushserver.mjs", h.Legacy["pushserver.http"], h.Legacy["pushserver.websocket"])
		})
	}
}
