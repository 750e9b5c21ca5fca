package apptest

import (
	"testing"

	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
)

// Legacy makes every process speak an older protocol, and lets everybody do what it let everybody do.
func Legacy(protocol string) Option {
	return With(func(c *config.Config) { c.Legacy.Dialects, c.Legacy.Open = []string{protocol}, true })
}

// Closed takes away what Legacy lets everybody do.
func Closed() Option { return With(func(c *config.Config) { c.Legacy.Open = false }) }

// Listeners returns where each process listens for an older protocol, by the key of the setting.
func (d *Deployment) Listeners(key string) []string {
	var all []string
	for _, p := range d.Processes {
		if at := p.Legacy[key]; at != "" {
			all = append(all, at)
		}
	}
	return all
}

// Everywhere runs a test on one process in memory, and on two edges over Redis. A test's own start adds its options to those
// that it is given.
func Everywhere[D any](t *testing.T, start func(t *testing.T, opts ...Option) D, test func(t *testing.T, d D), opts ...Option) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { test(t, start(t, opts...)) })
	t.Run("redis", func(t *testing.T) {
		test(t, start(t, append([]Option{Redis(redistest.Start(t).URL()), Split(2)}, opts...)...))
	})
}
