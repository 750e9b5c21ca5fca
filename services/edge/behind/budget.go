package behind

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

const (
	// occupancyBurst is how many subscriptions of one user may tell of occupied addresses at once, and occupancyEvery how long
	// one more takes then. So a client that comes and goes in a loop takes a third of the log of events a day, and pushes
	// nobody else's out.
	occupancyBurst = 1000
	occupancyEvery = 5 * time.Second
	// occupancyUsers is how many users are told apart; the one that was not heard of for longest begins anew.
	occupancyUsers = 10_000
)

// budgets bounds the events of addresses that are occupied and vacated, for each user. It may be used concurrently.
type budgets struct {
	users  *lru.Cache[string, *rate.Limiter] // nil where no events are kept
	untold prometheus.Counter
}

func newBudgets(events bool, untold prometheus.Counter) *budgets {
	b := &budgets{untold: untold}
	if events {
		b.users, _ = lru.New[string, *rate.Limiter](occupancyUsers) // fails for no positive size
	}
	return b
}

// allow says whether events may tell of one more subscription of the user.
func (b *budgets) allow(user string) bool {
	if b.users == nil {
		return true
	}
	l, ok := b.users.Get(user)
	if !ok {
		l = rate.NewLimiter(rate.Every(occupancyEvery), occupancyBurst)
		if first, there, _ := b.users.PeekOrAdd(user, l); there {
			l = first
		}
	}
	if l.Allow() {
		return true
	}
	b.untold.Inc()
	return false
}
