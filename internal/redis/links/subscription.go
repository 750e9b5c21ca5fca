package links

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// subscription is one address of a feed.
type subscription struct {
	address bus.Address
	number  uint64 // in the order of their beginning
	channel string
	alias   string // its other channel; empty when it has none
	slot    uint16
	ready   chan struct{} // closed at the first confirmation
	once    sync.Once
	left    chan struct{} // closed by Unsubscribe

	home atomic.Pointer[link]
	ever atomic.Bool // it was open once: what does not come from then on is missed
	on   atomic.Bool // it is open at its home

	// turn is held while the receiver is called, so that an address that moves is never told of by two links at once.
	turn sync.Mutex

	// Guarded by the feed's lock.
	open  bool      // it was confirmed last, and not ended or refused
	since time.Time // when it was confirmed
	tries int       // to place it anew, since it was open for a while
	hint  string    // the node that it was said to live at
}

// channels returns the pub/sub channels of a subscription.
func (s *subscription) channels() []string {
	if s.alias == "" {
		return []string{s.channel}
	}
	return []string{s.channel, s.alias}
}
