package workload

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/judge"
)

// follower is one subscriber over all its sessions, and what it writes down.
type follower struct {
	l         *Load
	who       string
	addresses []string
	app       bool

	mu       sync.Mutex
	at       map[string]judge.Position
	followed map[string]bool
	open     map[string]bool // whose end has not come yet
	marks    map[string]int
	ended    chan struct{} // closed when every end has come
	drop     func()        // ends the session
}

func (l *Load) newFollower(who string, addresses ...string) *follower {
	f := &follower{
		l: l, who: who, addresses: addresses, at: map[string]judge.Position{}, followed: map[string]bool{}, open: map[string]bool{},
		marks: map[string]int{}, ended: make(chan struct{}),
	}
	for _, a := range addresses {
		f.open[a] = true
	}
	l.all = append(l.all, f)
	return f
}

// follow starts all subscribers, and waits until each of them has subscribed.
func (l *Load) follow(ctx context.Context) error {
	random := l.random("channels")
	some := func() []string {
		var list []string
		for _, i := range random.Perm(l.o.Channels)[:min(3, l.o.Channels)] {
			list = append(list, Channel(i))
		}
		return list
	}
	var opened sync.WaitGroup
	start := func(run func(ctx context.Context, opened func())) {
		opened.Add(1)
		var once sync.Once
		l.followers.Go(func() {
			defer once.Do(opened.Done)
			run(ctx, func() { once.Do(opened.Done) })
		})
	}
	for i := range l.o.Stay + l.o.Leave {
		f := l.newFollower(fmt.Sprintf("raw%d", i), some()...)
		r := &raw{follower: f, edge: i, leaves: i >= l.o.Stay}
		start(r.run)
	}
	for i := range l.o.Slow {
		f := l.newFollower(fmt.Sprintf("slow%d", i), some()...)
		start((&raw{follower: f, edge: i, slow: true}).run)
	}
	for i := range l.o.Apps {
		f := l.newFollower(fmt.Sprintf("app%d", i), some()...)
		f.app = true
		start((&app{follower: f}).run)
	}
	for i := range l.o.Streams {
		f := l.newFollower(fmt.Sprintf("sse%d", i), Channel(random.IntN(l.o.Channels)))
		start((&events{f}).run)
		g := l.newFollower(fmt.Sprintf("grpc%d", i), Channel(random.IntN(l.o.Channels)))
		start((&consumer{g}).run)
	}
	for i := range l.o.Users {
		for d := range 1 + i%3/2 {
			f := l.newFollower(fmt.Sprintf("u%d-d%d", i, d), user(i))
			start((&device{raw: raw{follower: f, edge: i + d, leaves: true}, user: fmt.Sprintf("u%d", i)}).run)
		}
	}
	if l.o.Members > 0 {
		l.members(ctx)
	}
	done := make(chan struct{})
	go func() {
		opened.Wait()
		close(done)
	}()
	select {
	case <-done:
		return ctx.Err()
	case <-time.After(30 * time.Second):
		return fmt.Errorf("not all of %d subscribers have subscribed within 30 s", len(l.all))
	}
}

// session names the next session.
func (f *follower) session() string {
	return fmt.Sprintf("%s-%d", f.who, f.l.streams.Add(1))
}

// position returns where the follower is.
func (f *follower) position(address string) (judge.Position, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at[address], f.followed[address]
}

// begins writes down that a session follows an address.
func (f *follower) begins(session, address string, at judge.Position, recovered bool, since int64) {
	f.mu.Lock()
	from, resumed := f.at[address], f.followed[address]
	f.followed[address] = true
	if !resumed {
		f.at[address] = at
	}
	f.mu.Unlock()
	f.l.rec.Add(judge.Event{
		Kind: judge.Subscribed, Who: f.who, Session: session, Address: address, Position: at, From: from, Resumed: resumed, Recovered: recovered,
		App: f.app, Since: since,
	})
}

// message writes down a message.
func (f *follower) message(session string, m received) (key string) {
	key, origin := decompose(m.Data)
	at := m.Position.judge()
	f.l.rec.Add(judge.Event{
		Kind: judge.Delivered, Who: f.who, Session: session, Address: m.To, Key: key, Origin: origin, Digest: digest(m.Data), Position: at,
		Redelivered: m.Redelivered, Inbox: m.AckRequired,
	})
	f.l.lastDelivery.Store(time.Now().UnixMilli())
	f.mu.Lock()
	f.at[m.To] = at
	if strings.HasPrefix(key, "now") {
		mark, _, _ := strings.Cut(key, "-")
		f.marks[mark+"-"]++
	}
	f.mu.Unlock()
	if !strings.HasPrefix(key, "end-") {
		return key
	}
	f.end(m.To)
	if m.AckRequired { // what one device has acknowledged does not come to the others
		for _, other := range f.l.all {
			other.end(m.To)
		}
	}
	return key
}

// saw says whether everything that is marked so has come. Devices are not asked: nothing of it is theirs.
func (f *follower) saw(mark string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.marks[mark] >= len(f.addresses) || strings.HasPrefix(f.addresses[0], "users/")
}

// end notes that the end of an address has come.
func (f *follower) end(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.open[address] {
		return
	}
	if delete(f.open, address); len(f.open) == 0 {
		close(f.ended)
	}
}

// gap writes down a gap.
func (f *follower) gap(session string, t told) {
	to := t.To.judge()
	f.l.rec.Add(judge.Event{
		Kind: judge.Gap, Who: f.who, Session: session, Address: t.Address, From: t.After.judge(), Position: to, Reason: t.Reason,
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at[t.Address] = to
	if to.Epoch == "" {
		delete(f.followed, t.Address) // the next subscription begins anew
	}
}

// leaves writes down that a session is over.
func (f *follower) leaves(session string) {
	for _, a := range f.addresses {
		f.l.rec.Add(judge.Event{Kind: judge.Unsubscribed, Who: f.who, Session: session, Address: a})
	}
}

// again ends the session, so that the next one resumes.
func (f *follower) again() {
	f.mu.Lock()
	drop := f.drop
	f.mu.Unlock()
	if drop != nil {
		drop()
	}
}

func (f *follower) droppable(drop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop = drop
}
