package rooms_test

import (
	"crypto/rand"
	"testing"

	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/services/edge/dialect/dialecttest"
)

// house is a running house that speaks rooms, and where it does.
type house struct {
	*apptest.House
	at []string
}

// start starts one.
func start(t *testing.T, opts ...apptest.Option) *house {
	t.Helper()
	opts = append([]apptest.Option{apptest.With(func(c *app.Config) { c.Legacy.Dialects, c.Legacy.Open = []string{"rooms"}, true })}, opts...)
	h := &house{House: apptest.Start(t, opts...)}
	for _, p := range h.Processes {
		if at := p.Legacy["legacy.rooms.listen"]; at != "" {
			h.at = append(h.at, at)
		}
	}
	return h
}

// everywhere runs a test on one process in memory, and on two edges over Redis.
func everywhere(t *testing.T, test func(t *testing.T, h *house), opts ...apptest.Option) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { test(t, start(t, opts...)) })
	t.Run("redis", func(t *testing.T) {
		test(t, start(t, append([]apptest.Option{apptest.Redis(redistest.Start(t).URL()), apptest.Split(2)}, opts...)...))
	})
}

// with edits how the protocol is spoken.
func with(edit func(r *app.Rooms)) apptest.Option {
	return apptest.With(func(c *app.Config) { edit(&c.Legacy.Rooms) })
}

func (h *house) config() dialecttest.Config {
	return dialecttest.Config{Addresses: h.at, Values: map[string]string{"run": rand.Text()}}
}
