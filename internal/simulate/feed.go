package simulate

import (
	"cmp"
	"context"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/trunkline/trunkline/internal/bus"
)

// feed is one set of subscriptions over two connections. A connection brings what was pushed in its order, as far as the schedule
// lets it. When it breaks, what was on its way is lost, and what is pushed meanwhile too.
type feed struct {
	store *Store
	to    bus.Receiver
	links [2]link
}

// link is one connection. Confirmations and messages come on it in the order in which the server has written them.
type link struct {
	down   bool
	queue  []item
	wanted map[bus.Address]*want
}

// want is one subscription.
type want struct {
	open      bool // the server knows of it
	ever      bool // its confirmation has come, once
	confirmed chan struct{}
}

// item is one thing on its way: a message, or a confirmation.
type item struct {
	m       *bus.Message
	to      bus.Address
	confirm *want
}

// NewFeed returns a feed without subscriptions.
func (s *Store) NewFeed() bus.Feed {
	f := &feed{store: s}
	for i := range f.links {
		f.links[i].wanted = map[bus.Address]*want{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feeds = append(s.feeds, f)
	return f
}

// Run is over when ctx is; the schedule hands on what has come.
func (f *feed) Run(ctx context.Context, r bus.Receiver) error {
	f.store.mu.Lock()
	f.to = r
	f.store.mu.Unlock()
	<-ctx.Done()
	return nil
}

// Ready says whether all connections are open.
func (f *feed) Ready() error {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	if f.links[0].down || f.links[1].down {
		return bus.ErrStoreUnavailable
	}
	return nil
}

func (f *feed) of(a bus.Address) *link {
	h := fnv.New32a()
	_, _ = h.Write([]byte(a.String()))
	return &f.links[h.Sum32()%uint32(len(f.links))]
}

// Subscribe answers as bus.Feed says. The call is carried out when the server writes its confirmation.
func (f *feed) Subscribe(ctx context.Context, addresses ...bus.Address) error {
	f.store.mu.Lock()
	wants := make([]*want, len(addresses))
	for i, a := range addresses {
		l := f.of(a)
		if l.wanted[a] == nil {
			l.wanted[a] = &want{confirmed: make(chan struct{})}
		}
		wants[i] = l.wanted[a]
	}
	f.store.mu.Unlock()
	_, err := await(ctx, f.store, "subscribe", names(addresses), func() (none struct{}, err error) {
		for i, a := range addresses {
			if l := f.of(a); !l.down && l.wanted[a] == wants[i] { // otherwise it goes on trying, or was left
				l.ask(a, wants[i])
			}
		}
		return none, nil
	})
	if err != nil { // nobody waits any more, and the feed goes on trying
		f.store.mu.Lock()
		defer f.store.mu.Unlock()
		for i, a := range addresses {
			if l := f.of(a); !l.down && l.wanted[a] == wants[i] {
				l.ask(a, wants[i])
			}
		}
		return err
	}
	for _, w := range wants {
		select {
		case <-w.confirmed:
		case <-ctx.Done():
			return bus.ErrStoreUnavailable.Wrap(ctx.Err())
		}
	}
	return nil
}

// ask has the server open a subscription.
func (l *link) ask(a bus.Address, w *want) {
	if !w.open {
		w.open = true
		l.queue = append(l.queue, item{to: a, confirm: w})
	}
}

// Unsubscribe answers as bus.Feed says. What is on its way still comes to whoever subscribes again before.
func (f *feed) Unsubscribe(addresses ...bus.Address) {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	for _, a := range addresses {
		delete(f.of(a).wanted, a)
	}
}

// Retained answers as bus.Feed says: no address retains anything here.
func (f *feed) Retained(ctx context.Context, a bus.Address, mark string) (bus.Last, error) {
	return await(ctx, f.store, "retained", a.String(), func() (bus.Last, error) {
		l := f.of(a)
		if w := l.wanted[a]; l.down || w == nil || !w.open {
			return bus.Last{}, bus.ErrStoreUnavailable
		}
		l.queue = append(l.queue, item{to: a, m: &bus.Message{ID: mark, To: a, Kind: bus.MessageMark}})
		return bus.Last{}, nil
	})
}

// push puts a message on its way to all who follow its address.
func (s *Store) push(m *bus.Message) {
	for _, f := range s.feeds {
		l := f.of(m.To)
		if w := l.wanted[m.To]; !l.down && w != nil && w.open {
			l.queue = append(l.queue, item{m: m, to: m.To})
		}
	}
}

// links are the connections of all feeds.
func (s *Store) links() (all []*link, to []bus.Receiver) {
	for _, f := range s.feeds {
		for i := range f.links {
			all, to = append(all, &f.links[i]), append(to, f.to)
		}
	}
	return all, to
}

// Pass hands on up to so many of what waits on one of the connections on which something does.
func (s *Store) Pass(which, most int) {
	s.mu.Lock()
	all, _ := s.links()
	var full []int
	for i, l := range all {
		if len(l.queue) > 0 {
			full = append(full, i)
		}
	}
	s.mu.Unlock()
	if len(full) > 0 {
		s.pass(full[which%len(full)], most)
	}
}

// pass hands on up to so many of what waits on a connection, and says how many that were.
func (s *Store) pass(which, most int) (n int) {
	for ; n < most; n++ {
		s.mu.Lock()
		all, to := s.links()
		l, r := all[which], to[which]
		if len(l.queue) == 0 || r == nil {
			s.mu.Unlock()
			return n
		}
		next := l.queue[0]
		l.queue = l.queue[1:]
		w := l.wanted[next.to]
		missed := next.confirm != nil && next.confirm == w && w.ever
		s.mu.Unlock()
		switch {
		case w == nil: // it was left
		case next.m != nil:
			s.tell("connection %d brings %s", which, said(next.m))
			r.Deliver(next.m)
		case next.confirm != w:
		case missed:
			s.tell("connection %d tells that %s may have missed something", which, next.to)
			r.Interrupted([]bus.Address{next.to})
		default:
			s.tell("connection %d confirms %s", which, next.to)
			w.ever = true
			close(w.confirmed)
		}
	}
	return n
}

func said(m *bus.Message) string {
	switch m.Kind {
	case bus.MessageDeleted:
		return "the end of " + m.To.String()
	case bus.MessageMark:
		return "a mark of " + m.To.String()
	}
	return strings.Join([]string{m.ID, "of", m.To.String(), "at", spell(m.Position)}, " ")
}

// PassAll hands on everything that waits, and says whether there was something.
func (s *Store) PassAll() (some bool) {
	for which := range 2 * len(s.feeds) {
		some = s.pass(which, 1<<20) > 0 || some
	}
	return some
}

// Break breaks a connection.
func (s *Store) Break(which int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all, _ := s.links(); len(all) > 0 {
		s.tell("connection %d breaks, with %d on their way", which%len(all), len(all[which%len(all)].queue))
		all[which%len(all)].fall()
	}
}

func (s *Store) breakLinks() {
	all, _ := s.links()
	for _, l := range all {
		l.fall()
	}
}

func (l *link) fall() {
	l.down, l.queue = true, nil
	for _, w := range l.wanted {
		w.open = false
	}
}

// Connect opens the connections that are broken. What was followed is told to have missed something.
func (s *Store) Connect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, _ := s.links()
	for i, l := range all {
		if !l.down {
			continue
		}
		l.down = false
		s.tell("connection %d is open again", i)
		for _, a := range slices.SortedFunc(maps.Keys(l.wanted), func(a, b bus.Address) int { return cmp.Compare(a.String(), b.String()) }) {
			l.ask(a, l.wanted[a])
		}
	}
}
