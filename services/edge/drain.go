package edge

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/access"
)

const (
	// moveSpread is over how long clients come back at the least. A second then has an eighth of them, and not more than a
	// quarter when neither side keeps its times exactly.
	moveSpread = 8 * time.Second
	// movePace is how much of that one client needs: up to a hundred a second are no storm.
	movePace = 10 * time.Millisecond
	// moveDelay is how soon after its close a client comes back at the earliest.
	moveDelay = 100 * time.Millisecond
	// drainTick is how often a drain looks at what is due.
	drainTick = 10 * time.Millisecond
)

// drain ends all sessions and waits for them. The close frames are spread over the window. Each names its own time to come
// back, spread likewise and over moveSpread at the least. So the clients do not all knock on the next door at once.
func (e *Edge) drain() error {
	e.guard.Close()
	var all []*session
	e.each(func(s *session) { all = append(all, s) })
	spread := min(max(e.cfg.DrainWindow, moveSpread), time.Duration(len(all))*movePace)
	window := min(e.cfg.DrainWindow, spread)
	part := func(of time.Duration, i float64) time.Duration {
		return time.Duration(float64(of) * i / float64(len(all)))
	}
	ticker := time.NewTicker(drainTick)
	defer ticker.Stop()
	start := time.Now()
	for i := 0; i < len(all); {
		for ; i < len(all) && part(window, float64(i)) <= time.Since(start); i++ {
			back := part(spread, float64(i)+rand.Float64()) //nolint:gosec // jitter, not a secret
			all[i].move(back - time.Since(start))
		}
		if i < len(all) {
			<-ticker.C
		}
	}
	return e.await()
}

// move tells a client to go and when to come back, unless a command of it is under way.
func (s *session) move(back time.Duration) {
	if !s.Conn.Busy() {
		s.sendOff(max(back, moveDelay))
	}
}

// sendOff gives a client what it needs to come back without a call of the auth service, and tells it to go.
func (s *session) sendOff(back time.Duration) {
	var ticket []byte
	if s.renewable() {
		ticket = s.nextTicket(time.Now())
	}
	s.refuseAfter(ticket, bus.ErrDraining.Retry(back))
}

// await waits until all sessions have gone. Those that were busy when their turn came, or came in during the drain, are told
// as soon as they are not busy. After the longest time that a command may take, they are told in any case. At the end of the
// grace what is left is cut off.
func (e *Edge) await() error {
	gone := make(chan struct{})
	go func() {
		e.guard.Wait()
		e.writers.Wait()
		close(gone)
	}()
	grace := time.NewTimer(e.cfg.DrainGrace)
	defer grace.Stop()
	ticker := time.NewTicker(drainTick)
	defer ticker.Stop()
	for start := time.Now(); ; {
		select {
		case <-gone:
			return nil
		case <-grace.C:
			left := e.Connections()
			for _, s := range e.unrefused(nil) {
				s.Refuse(bus.ErrDraining)
			}
			e.each(func(s *session) { _ = s.Conn.Close() })
			<-gone
			return fmt.Errorf("the drain of the edge ended after %s, connections that were left and cut off: %d", e.cfg.DrainGrace, left)
		case <-ticker.C:
		}
		late := time.Since(start) > e.cfg.CallTimeout
		for _, s := range e.unrefused(func(s *session) bool { return late || !s.Conn.Busy() }) {
			s.sendOff(moveDelay + rand.N(access.LeastDelay)) //nolint:gosec // jitter, not a secret
		}
	}
}

// unrefused returns the sessions that were not told to end; those that are wanted, or all.
func (e *Edge) unrefused(wanted func(*session) bool) []*session {
	var all []*session
	e.each(func(s *session) {
		if s.refused.Load() == nil && (wanted == nil || wanted(s)) {
			all = append(all, s)
		}
	})
	return all
}
