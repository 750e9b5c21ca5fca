package quota

import (
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// sharers is how many users a Shares tells apart; the one that was not heard of for longest begins anew.
const sharers = 10_000

// Shares bounds how many events each user may make a process write to the log of events, so that nobody pushes everybody else's out.
// A nil Shares has no bound. It may be used concurrently.
type Shares struct {
	users  *lru.Cache[string, *rate.Limiter]
	most   int
	every  time.Duration
	untold prometheus.Counter
}

// NewShares returns shares that nobody has used yet. A user may make so many events at once, and one more each time that every is
// over. The counter counts what is not told.
func NewShares(most int, every time.Duration, untold prometheus.Counter) *Shares {
	users, _ := lru.New[string, *rate.Limiter](sharers) // fails for no positive size
	return &Shares{users: users, most: most, every: every, untold: untold}
}

// SharesOfLog returns the shares of a log of which each user may fill so many events in an hour; nil, for no bound, with 0.
func SharesOfLog(perHour int, untold prometheus.Counter) *Shares {
	if perHour <= 0 {
		return nil
	}
	return NewShares(perHour, time.Hour/time.Duration(perHour), untold)
}

// Take takes so many events from the share of a user. It takes all or nothing, and says whether they may be told.
func (s *Shares) Take(user string, events int) bool {
	if s == nil {
		return true
	}
	l, ok := s.users.Get(user)
	if !ok {
		l = rate.NewLimiter(rate.Every(s.every), s.most)
		// The name may be a part of a whole frame.
		if first, there, _ := s.users.PeekOrAdd(strings.Clone(user), l); there {
			l = first
		}
	}
	if l.AllowN(time.Now(), events) {
		return true
	}
	s.untold.Add(float64(events))
	return false
}
