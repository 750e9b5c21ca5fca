package tail

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// Shared is a page of a log that several subscribers may read at once. Nobody may change it. All methods may be called
// concurrently.
type Shared struct {
	bus.Page
	// Gap is what is missing before the page; nil when nothing is.
	Gap *bus.Gap

	mu    sync.Mutex
	memos map[int]any
}

// Memo returns what make has made of the page for the key, which is the same for everybody and must not be changed.
func (p *Shared) Memo(key int, make func() any) any { //nolint:predeclared // what it does
	p.mu.Lock()
	defer p.mu.Unlock()
	memo, ok := p.memos[key]
	if !ok {
		if p.memos == nil {
			p.memos = map[int]any{}
		}
		memo = make()
		p.memos[key] = memo
	}
	return memo
}

// Replay hands on what an address has kept after a position; after the zero position means
// everything. Call it after the subscriber has been attached to the sink with a hold and Acquire has returned: what is
// published meanwhile is then held, and the caller drops held messages up to the position that
// Replay returns. gap is called at most once for each gap, before the messages that follow it. emit
// and gap may block; an error of emit ends the replay.
func (t *Tail) Replay(ctx context.Context, a bus.Address, after bus.Position, gap func(bus.Gap), emit func(*bus.Message) error) (bus.Position, error) {
	return t.ReplayPages(ctx, a, after, func(p *Shared) error {
		if p.Gap != nil {
			gap(*p.Gap)
		}
		for _, m := range p.Messages {
			if err := emit(m); err != nil {
				return err
			}
		}
		return nil
	})
}

// ReplayPages is Replay by pages, which subscribers that come back together share.
func (t *Tail) ReplayPages(ctx context.Context, a bus.Address, after bus.Position, page func(*Shared) error) (bus.Position, error) {
	for {
		p, err := t.reads.page(ctx, t, place{a, after})
		if err != nil {
			return after, err
		}
		if err := page(p); err != nil {
			return after, err
		}
		after = p.Next
		if !p.More {
			return p.end(), nil
		}
	}
}

// end is where a page that is the last one ends: the same place under the newest epoch, which forks may have begun there.
func (p *Shared) end() bus.Position {
	if p.Top.Epoch != "" && p.Top.Offset == p.Next.Offset {
		return p.Top
	}
	return p.Next
}

// place is where a read begins.
type place struct {
	address bus.Address
	from    bus.Position
}

// reads lets those who read from the same place wait for one answer. A read that has begun is nobody's who comes then: it may
// lack what was published before that one was attached. Who comes meanwhile shares the next.
type reads struct {
	limit   int // of a page
	running sync.WaitGroup

	mu    sync.Mutex
	at    map[place]*turn // the next turn there; there is a reader for each entry
	ended bool
}

// turn is one read of the log.
type turn struct {
	done chan struct{}
	page *Shared
	err  error
}

// readTime bounds one read.
const readTime = 10 * time.Second

// page returns the page from a place, of a read that begins after the call.
func (r *reads) page(ctx context.Context, t *Tail, at place) (*Shared, error) {
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return t.readPage(ctx, at, r.limit)
	}
	own, reading := r.at[at]
	if own == nil {
		own = &turn{done: make(chan struct{})}
		r.at[at] = own
	}
	if !reading {
		r.running.Go(func() { r.run(t, at) })
	}
	r.mu.Unlock()
	select {
	case <-own.done:
		return own.page, own.err
	case <-ctx.Done():
		return nil, bus.ErrStoreUnavailable.Wrap(ctx.Err())
	}
}

// run takes turns from a place until nobody wants one.
func (r *reads) run(t *Tail, at place) {
	for {
		runtime.Gosched() // who is about to come joins
		r.mu.Lock()
		own := r.at[at]
		if own == nil {
			delete(r.at, at)
			r.mu.Unlock()
			return
		}
		r.at[at] = nil
		r.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), readTime)
		own.page, own.err = t.readPage(ctx, at, r.limit)
		cancel()
		close(own.done)
	}
}

// wait ends sharing: later reads are their callers' own.
func (r *reads) wait() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.running.Wait()
}

// readPage reads the log once.
func (t *Tail) readPage(ctx context.Context, at place, limit int) (*Shared, error) {
	p, err := t.log.Since(ctx, at.address, t.Retention(at.address), at.from, limit)
	if err != nil && !errors.Is(err, bus.ErrGap) {
		return nil, err
	}
	shared := &Shared{Page: p}
	if err != nil {
		g := gapBefore(at.address, at.from, p)
		shared.Gap = &g
	}
	return shared, nil
}

// Missing returns what a subscriber that has come to a position cannot be given any more; nil when nothing is missing. at is what
// Acquire returned. A log that is there no more has no position to go on from.
func (t *Tail) Missing(ctx context.Context, a bus.Address, at, after bus.Position) (*bus.Gap, error) {
	if after.Epoch == "" || after.Epoch == at.Epoch && after.Offset <= at.Offset {
		return nil, nil
	}
	p, err := t.readPage(ctx, place{a, after}, t.cfg.HealPage)
	if err != nil {
		return nil, err
	}
	return p.Gap, nil
}

// Recovers says whether everything after a position that a subscriber gave can be replayed, also over a restart or a failover
// that has kept the log. at is what Acquire returned: a subscriber that stands there needs no question. Those that ask about the
// same position at the same time share one look.
func (t *Tail) Recovers(ctx context.Context, a bus.Address, at, after bus.Position) (bool, error) {
	if after.Epoch == "" || after == at {
		return true, nil
	}
	page, err := t.looks.page(ctx, t, place{a, after})
	if err != nil {
		return false, err
	}
	return page.Gap == nil && !page.Forked, nil
}
