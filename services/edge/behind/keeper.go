package behind

import (
	"context"
	"log/slog"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// keeper keeps the rosters from being forgotten, a few at a time, and joins again whom the store does not know any more.
// When the store may have lost something it is asked about all of them at once.
type keeper struct {
	store     rosterStore
	node      string
	log       *slog.Logger
	addresses func() []bus.Address
	relist    func(bus.Address)

	kept  string // what the store said, and
	known bool   // whether it has said anything
	last  time.Time
	rest  []bus.Address // still to be touched in this turn
	hurry bool          // the store may have lost some of them
}

// rosterStore is what a roster needs of a store.
type rosterStore interface {
	bus.Roster
	bus.Reaper
}

const (
	// keepEvery is how often the store is asked whether it may have lost what it was told.
	keepEvery = bus.NodeTTL / 3
	// hurryPart is how many addresses one round asks about when the store may have lost some.
	hurryPart = 20_000
)

func (k *keeper) run(ctx context.Context) {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	k.last = time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := k.round(ctx); err != nil {
				k.log.Warn("cannot keep the rosters", "error", err.Error())
			}
		}
	}
}

func (k *keeper) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keepEvery)
	defer cancel()
	kept, err := k.store.Kept(ctx, k.node)
	if err != nil {
		return err
	}
	silent := time.Since(k.last) > bus.NodeTTL-keepEvery // this node may have been taken for dead
	all := k.addresses()
	if silent || k.known && kept != k.kept {
		k.rest, k.hurry = all, true
	}
	k.kept, k.known = kept, true
	now := k.next(all)
	missing, err := k.store.Touch(ctx, k.node, now)
	if err != nil {
		k.rest = append(now, k.rest...)
		return err
	}
	if silent {
		missing = all
	}
	k.last = time.Now()
	for _, a := range missing {
		k.relist(a)
	}
	return nil
}

// next returns the part of the addresses that is touched now, so that each has its turn in time.
func (k *keeper) next(all []bus.Address) []bus.Address {
	if len(k.rest) == 0 {
		k.rest, k.hurry = all, false
	}
	const rounds = int(bus.RosterTouch / keepEvery)
	n := min(len(k.rest), (len(all)+rounds-1)/rounds)
	if k.hurry {
		n = min(len(k.rest), hurryPart)
	}
	part := k.rest[:n:n]
	k.rest = k.rest[n:]
	return part
}
