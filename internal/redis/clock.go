package redis

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// clock estimates the time of the servers: what is shared has to mean the same moment in every process, and their clocks may be wrong.
type clock struct {
	local   func() time.Time
	ask     func(context.Context) (time.Time, error)
	timeout time.Duration

	begin  sync.Once
	sample atomic.Pointer[sample] // nil until a server has answered
	asking sync.WaitGroup

	mu     sync.Mutex
	busy   bool
	closed bool
	tried  time.Time
}

// sample is what a server's clock said at a time of ours.
type sample struct{ local, server time.Time }

const (
	// sampleAge is after how long a server is asked again: clocks drift by less than a millisecond in it.
	sampleAge = 10 * time.Second
	// samplePause is between tries while none answers.
	samplePause = time.Second
)

// now returns the time of the servers, and that of this process until one has answered. The first call waits for an answer.
func (c *clock) now() time.Time {
	c.begin.Do(c.measure)
	local := c.local()
	s := c.sample.Load()
	// The old estimate is used meanwhile: only the first caller waits for a clock.
	if s == nil || local.Sub(s.local) > sampleAge {
		c.again(local)
	}
	if s == nil {
		return local
	}
	return s.server.Add(local.Sub(s.local))
}

// again asks a server beside the caller, unless that is being done or was tried just now.
func (c *clock) again(local time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// One question at a time, so that not every caller asks a server that is away.
	if c.busy || c.closed || local.Sub(c.tried) < samplePause {
		return
	}
	c.busy, c.tried = true, local
	c.asking.Go(func() {
		c.measure()
		c.mu.Lock()
		c.busy = false
		c.mu.Unlock()
	})
}

// measure asks a server once. Its clock is taken to have been read in the middle between question and answer.
func (c *clock) measure() {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	before := c.local()
	server, err := c.ask(ctx)
	// The estimate that there is stays good for long: clocks drift slowly.
	if err != nil {
		return
	}
	took := c.local().Sub(before)
	c.sample.Store(&sample{local: before.Add(took / 2), server: server})
}

// close waits for a question that is under way; there are no more after it.
func (c *clock) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.asking.Wait()
}

// askTime asks a master for its time; in a Cluster the one that has the revocations, which judges when tokens were issued.
func (s *Store) askTime(ctx context.Context) (time.Time, error) {
	to, err := s.pipes.OfKey(ctx, s.keys.stream(bus.Revoked))
	if err != nil {
		return time.Time{}, err
	}
	return to.Client().Time(ctx).Result()
}

// Now returns the time of the servers, as it is estimated from their answers.
func (s *Store) Now() time.Time { return s.clock.now() }
