package server_test

import (
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// A life is believed to have everything only where that follows from what was asked of every message, and was seen.
func TestLife_keepsWhatItCertainlyHas(t *testing.T) {
	now := time.Now()
	one, two := server.Least{Durability: bus.Replicated, Replicas: 1}, server.Least{Durability: bus.Replicated, Replicas: 2}
	synced := server.Least{Durability: bus.Fsynced}
	promoted := server.Known{Before: "old", Started: now.Add(-time.Hour), Replicas: 1}
	restarted := server.Known{Started: now, Appends: true, Always: true}
	with := func(l server.Known, change func(*server.Known)) server.Known { change(&l); return l }
	for name, c := range map[string]struct {
		life  server.Known
		least server.Least
		keeps bool
	}{
		"the only replica":                        {promoted, one, true},
		"one of two that had to have everything":  {with(promoted, func(l *server.Known) { l.Replicas = 2 }), two, true},
		"one of two of which one had to":          {with(promoted, func(l *server.Known) { l.Replicas = 2 }), one, false},
		"nobody saw how many there were":          {with(promoted, func(l *server.Known) { l.Replicas = 0 }), one, false},
		"no replica had to":                       {promoted, server.Least{}, false},
		"the disk of the former one had to":       {promoted, synced, false},
		"it began after the newest entry":         {with(promoted, func(l *server.Known) { l.Started = now.Add(-time.Minute) }), one, false},
		"it may have begun after it":              {with(promoted, func(l *server.Known) { l.Started = now.Add(-time.Minute - time.Second) }), one, false},
		"it comes from a third life":              {with(promoted, func(l *server.Known) { l.Before = "third" }), one, false},
		"a file of everything":                    {restarted, server.Least{}, true},
		"a file that is not always synced":        {with(restarted, func(l *server.Known) { l.Always = false }), server.Least{}, false},
		"it was not always synced before":         {with(restarted, func(l *server.Known) { l.Lax = true }), server.Least{}, false},
		"every message was synced by itself":      {with(restarted, func(l *server.Known) { l.Always, l.Lax = false, true }), synced, true},
		"no file":                                 {with(restarted, func(l *server.Known) { l.Appends = false }), synced, false},
		"its own replicas had everything, not it": {with(restarted, func(l *server.Known) { l.Always = false }), one, false},
	} {
		if got := c.life.Keeps(now.Add(-time.Minute), c.least); got != c.keeps {
			t.Errorf("%s: %t", name, got)
		}
	}
}
