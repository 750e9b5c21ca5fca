package quota

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/trunkline/trunkline/internal/bus"
)

const (
	// countEvery is how often a process tells the store which addresses it has met. It asks how many there are where it has met
	// none every recountEvery.
	countEvery   = time.Second
	recountEvery = 10 * time.Second
	// keptTimeout is for one call of the store.
	keptTimeout = time.Second
	// pendingLimit is how many addresses of a space may wait to be told. Further ones are told when they are met again.
	pendingLimit = 1 << 16
	// fullWait is when to come back to a namespace that has as many addresses as it may have.
	fullWait = time.Minute
)

// day is the number of a day, which has room until the year 2149; 0 is none. Each day every address that is written to is noted once more.
func day(at time.Time) uint16 {
	return uint16(at.Unix()/86400) + 1
}

// Run counts what the store keeps, until ctx ends. Without it nothing bounds how many addresses are kept.
func (q *Quotas) Run(ctx context.Context) error {
	if q.census == nil {
		<-ctx.Done()
		return nil
	}
	warn := rate.NewLimiter(rate.Every(recountEvery), 1)
	ticker := time.NewTicker(countEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		for _, s := range q.spaces.counted() {
			if err := q.count(ctx, s); err != nil && ctx.Err() == nil && warn.Allow() {
				q.log.Warn("cannot count the addresses of a namespace", slog.String("setting", s.setting), slog.String("error", err.Error()))
			}
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	return nil
}

// count tells the store what is new in a space, and takes over how many addresses there are.
func (q *Quotas) count(ctx context.Context, s *space) error {
	s.mu.Lock()
	list := s.pending
	if len(list) == 0 && q.now().Before(s.recount) {
		s.mu.Unlock()
		return nil
	}
	s.pending, s.recount = nil, q.now().Add(recountEvery)
	s.mu.Unlock()
	call, cancel := context.WithTimeout(ctx, keptTimeout)
	defer cancel()
	n, err := q.census.Count(call, s.in, list)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.pending = append(list, s.pending...)
		return err
	}
	s.kept, s.fresh = n, len(s.pending)
	s.gauge.Set(float64(n))
	return nil
}

// crowded says whether a space has as many addresses as it may have, as far as is known here.
func (s *space) crowded() bool {
	if s.most == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept+s.fresh >= s.most
}

// note notes an address that is kept, and says whether it will be counted. One that is new counts at once.
func (s *space) note(a bus.Address, isNew bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gauge == nil || len(s.pending) >= pendingLimit {
		return false
	}
	s.pending = append(s.pending, a.Clone())
	if isNew {
		s.fresh++
	}
	return true
}

// admits returns nil when one more address may be kept, or something of it is kept already.
func (q *Quotas) admits(by bus.Account, s *space, a bus.Address) error {
	if q.census == nil || !s.crowded() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), keptTimeout)
	defer cancel()
	// Whoever uses what is there goes on, also where this process has just begun and knows nothing of it.
	if there, err := q.census.Keeps(ctx, a); there || err != nil {
		return err
	}
	return q.crowd(by, s)
}
