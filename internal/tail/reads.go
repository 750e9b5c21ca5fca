package tail

import (
	"context"
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

// end is where a page that is the last one ends: the same place under the newest epoch, which forks may have begun there.
func (p *Shared) end() bus.Position {
	if p.Top.Epoch != "" && p.Top.Offset == p.Next.Offset {
		return p.Top
	}
	return p.Next
}

// place is where a read begins, and how many messages it asks for.
type place struct {
	address bus.Address
	from    bus.Position
	limit   int
}

// reads lets those who read from the same place wait for one answer. A read that has begun is nobody's who comes then: it may
// lack what was published before that one was attached. A follower that comes meanwhile shares the next.
type reads struct {
	read    readFunc
	running sync.WaitGroup

	mu    sync.Mutex
	at    map[place]*turn // the next turn there; there is a reader for each entry
	ended bool
}

// readFunc reads a page of a log.
type readFunc func(ctx context.Context, at place, limit int) (*Shared, error)

func newReads(read readFunc) reads {
	return reads{read: read, at: make(map[place]*turn)}
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
func (r *reads) page(ctx context.Context, at place) (*Shared, error) {
	r.mu.Lock()
	// After Run has ended nobody waits for a shared reader, so a late caller reads alone.
	if r.ended {
		r.mu.Unlock()
		return r.read(ctx, at, at.limit)
	}
	own, reading := r.at[at]
	if own == nil {
		own = &turn{done: make(chan struct{})}
		r.at[at] = own
	}
	if !reading {
		r.running.Go(func() { r.run(at) })
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
func (r *reads) run(at place) {
	for {
		runtime.Gosched() // a follower that is about to come joins
		r.mu.Lock()
		own := r.at[at]
		if own == nil {
			delete(r.at, at)
			r.mu.Unlock()
			return
		}
		// Whoever comes from now on waits for the next turn: this read may begin before their subscription.
		r.at[at] = nil
		r.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), readTime)
		own.page, own.err = r.read(ctx, at, at.limit)
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
