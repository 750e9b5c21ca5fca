package behind

import (
	"cmp"
	"hash/maphash"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/trunkline/trunkline/internal/bus"
)

const (
	// flapBurst is how often a user may leave an address and be shown as gone at once, unless that is configured. Then one more takes
	// flapEvery.
	flapBurst = 60
	flapEvery = 5 * time.Second
	// flapPlaces is how many users in addresses are told apart; the one that has not left for longest begins anew.
	flapPlaces = 1 << 16
)

// damper finds users that come and go in a loop. Each change is told to everybody who asked for presence, so it costs as much as
// the listeners are many. It may be used concurrently.
type damper struct {
	seed   maphash.Seed
	burst  int
	places *lru.Cache[uint64, *rate.Limiter]
	damped prometheus.Counter
}

func newDamper(burst int, damped prometheus.Counter) *damper {
	places, _ := lru.New[uint64, *rate.Limiter](flapPlaces) // fails for no positive size
	return &damper{burst: cmp.Or(burst, flapBurst), seed: maphash.MakeSeed(), places: places, damped: damped}
}

// flaps says whether a user leaves an address so often that it may come back at once again.
func (d *damper) flaps(user string, a bus.Address) bool {
	var h maphash.Hash
	h.SetSeed(d.seed)
	_, _ = h.WriteString(user)              // never fails
	_, _ = h.WriteString("\n" + a.String()) // never fails
	place := h.Sum64()
	l, ok := d.places.Get(place)
	if !ok {
		l = rate.NewLimiter(rate.Every(flapEvery), d.burst)
		if first, there, _ := d.places.PeekOrAdd(place, l); there {
			l = first
		}
	}
	if l.Allow() {
		return false
	}
	d.damped.Inc()
	return true
}
