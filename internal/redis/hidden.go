package redis

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/pipes"
	"github.com/trunkline/trunkline/internal/retry"
)

// What asks for replicas or the disk is appended hidden: it is neither pushed nor read until they have it. Otherwise a failover
// could take back what somebody has seen already, and the repeat of the publish would show it a second time. The newest offset
// that is visible stands in the meta hash while something behind it is hidden (v). So does the newest one whose publication was
// given up (g). What is published behind a hidden entry is hidden with it, so that the order holds.

const (
	// hiddenFor is after how long a hidden entry counts as given up, whoever published it: longer than a publish takes.
	hiddenFor = 5 * time.Second
	// maxHeldUp is how many addresses with something held up a store remembers. Beyond it the next publish of the address
	// has to show what waits.
	maxHeldUp = 10_000
)

// demandOf is what the publish script notes of a publication that is to be hidden; empty when it is not.
func demandOf(p *bus.Publication) string {
	switch p.Durability {
	case bus.Replicated:
		return strconv.Itoa(p.Replicas)
	case bus.Fsynced:
		return "f"
	default:
		return ""
	}
}

// showCall shows what is durable now. wanted is the publication that is asked for, zero for none.
func (s *Store) showCall(to bus.Address, wanted bus.Position, said pipes.Proof, givenUp bool) call {
	return call{
		script: showScript,
		keys:   []string{s.keys.stream(to), s.keys.meta(to), s.keys.push(to), s.keys.last(to)},
		args: []any{
			wanted.Epoch, strconv.FormatUint(wanted.Offset, 10), said.Replicas, flag(said.Synced), flag(givenUp), s.publishVerb(), hiddenFor.Milliseconds(),
		},
	}
}

func flag(on bool) string {
	if on {
		return "1"
	}
	return ""
}

// showing is one publication of a batch that is to be shown.
type showing struct {
	to      bus.Address
	at      bus.Position
	said    pipes.Proof
	givenUp bool
	err     error
}

var (
	errHidden    = errors.New("entries before it wait for more replicas")
	errWithdrawn = errors.New("it was withdrawn")
)

// show makes publications visible in one pipeline, and asks again for those that wait behind others that are under way. The
// err of each is nil once it can be seen by everybody.
func (s *Store) show(ctx context.Context, list []*showing) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	// Those before them are shown by their own publishers, so it is worth asking again until the deadline.
	for try := 0; len(list) > 0; try++ {
		calls := make([]call, len(list))
		for i, w := range list {
			calls[i] = s.showCall(w.to, w.at, w.said, w.givenUp)
		}
		cmds, err := s.runAll(ctx, calls)
		var again []*showing
		for i, w := range list {
			if w.err = err; err == nil {
				var more bool
				if more, w.err = readShown(cmds[i]); more && !w.givenUp {
					again = append(again, w)
				}
			}
		}
		if list = again; len(list) > 0 {
			retry.Wait(ctx, retry.Backoff(try))
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// readShown reads the answer of the show script; again is true when another try can help.
func readShown(cmd *redis.Cmd) (again bool, err error) {
	answer, err := cmd.StringSlice()
	if err != nil {
		return false, failure(err)
	}
	switch at(answer, 0) {
	case "shown":
		return false, nil
	case "hidden":
		return true, errHidden
	}
	return false, errWithdrawn
}

// heldUpHint is pushed when something that is OK waits behind hidden entries.
const heldUpHint = "?"

// heldUp shows what was published behind hidden entries, should those who published these not come to it: a process that
// died, or that gave up. A process that published behind them looks after the address, and so does each that follows it. One
// goroutine, which ends when nothing is held up.
type heldUp struct {
	store   *Store
	running sync.WaitGroup
	ctx     context.Context //nolint:containedctx // ends with the store
	end     context.CancelFunc

	mu        sync.Mutex
	addresses map[bus.Address]time.Time // since when
	busy      bool
}

func newHeldUp(s *Store) *heldUp {
	h := &heldUp{store: s, addresses: map[bus.Address]time.Time{}}
	h.ctx, h.end = context.WithCancel(context.Background())
	if s.cfg.Metrics != nil {
		s.cfg.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "trunkline_store_held_up_addresses",
			Help: "Addresses where something that is OK waits behind messages that are not on enough replicas, or on the disk, yet.",
		}, func() float64 { return float64(h.length()) }))
	}
	return h
}

func (h *heldUp) length() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.addresses)
}

// add notes that something at the address is held up.
func (h *heldUp) add(a bus.Address) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// An address that is not remembered is shown by its next publish.
	if _, ok := h.addresses[a]; ok || len(h.addresses) >= maxHeldUp || h.ctx.Err() != nil {
		return
	}
	h.addresses[a] = time.Now()
	if !h.busy {
		h.busy = true
		h.running.Go(h.run)
	}
}

// close ends it and waits.
func (h *heldUp) close() {
	h.mu.Lock()
	h.end()
	h.mu.Unlock()
	h.running.Wait()
}

func (h *heldUp) run() {
	tick := time.NewTicker(hiddenFor / 5)
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
		}
		h.look()
		h.mu.Lock()
		// It ends under the lock, so that add knows whether to start another goroutine.
		if h.busy = len(h.addresses) > 0; !h.busy {
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
	}
}

// look shows what can be shown where something has been held up for long enough.
func (h *heldUp) look() {
	h.mu.Lock()
	var list []bus.Address
	for a, since := range h.addresses {
		if time.Since(since) > hiddenFor && len(list) < bulk {
			list = append(list, a)
		}
	}
	h.mu.Unlock()
	if len(list) == 0 {
		return
	}
	// Without the lock, which publishers take.
	calls := make([]call, len(list))
	for i, a := range list {
		calls[i] = h.store.showCall(a, bus.Position{}, pipes.Proof{}, false)
	}
	ctx, cancel := context.WithTimeout(h.ctx, h.store.cfg.Timeout)
	defer cancel()
	cmds, err := h.store.runAll(ctx, calls)
	if err != nil {
		return // the next look asks again
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, cmd := range cmds {
		if answer, err := cmd.StringSlice(); err == nil && at(answer, 1) == "" {
			delete(h.addresses, list[i])
		}
	}
}
