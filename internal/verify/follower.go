package verify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/internal/judge"
	"github.com/trunkline/trunkline/internal/retry"
	"github.com/trunkline/trunkline/internal/verify/door"
)

// sit is one session of a follower; on is told what comes. It ends with ctx.
type sit func(ctx context.Context, places []door.Place, on func(door.Event)) error

// follower is one subscriber over all its sessions.
type follower struct {
	r         *run
	who       string
	addresses []string
	stays     bool // until its connection is ended by others
	sit       sit
	client    string // whose token it shows; empty for the credential itself

	sessions atomic.Int64
	ready    chan struct{} // closed when it has subscribed for the first time
	ended    chan struct{} // closed when the last message of every address has come

	mu   sync.Mutex
	at   map[string]judge.Position // of what it follows
	open map[string]bool           // addresses whose last message has not come
	on   bool                      // in a session
	err  error                     // of the last session
	drop context.CancelFunc        // of the session
}

func (r *run) newFollower(who string, sit sit, stays bool, addresses ...string) *follower {
	f := &follower{
		r: r, who: who, addresses: addresses, stays: stays, sit: sit, ready: make(chan struct{}), ended: make(chan struct{}),
		at: map[string]judge.Position{}, open: map[string]bool{},
	}
	for _, a := range addresses {
		f.open[a] = true
	}
	return f
}

// run has one session after the other. Those that do not stay end theirs at random, as a broken network does, and resume.
func (f *follower) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		session, cancel := context.WithCancel(ctx)
		if !f.stays && !f.r.isEnding() {
			session, cancel = context.WithTimeout(ctx, 500*time.Millisecond+time.Duration(rand.Int64N(int64(3*time.Second)))) //nolint:gosec // no secret
		}
		f.mu.Lock()
		f.drop, f.on = cancel, false
		f.mu.Unlock()
		err := f.r.renewed(f.client, f.session(session))
		cancel()
		f.mu.Lock()
		if f.err = err; f.on {
			failures = 0
		}
		f.on = false
		f.mu.Unlock()
		away := 10*time.Millisecond + time.Duration(rand.Int64N(int64(time.Second))) //nolint:gosec // no secret
		switch {
		case session.Err() == nil: // the server or the network ended it
			away = max(door.Wait(err), 20*time.Millisecond+retry.Backoff(failures))
			failures++
		case f.r.isEnding():
			away = 0
		}
		if !wait(ctx, away) {
			return
		}
	}
}

// session follows until the session ends.
func (f *follower) session(ctx context.Context) error {
	name := fmt.Sprintf("%s-%d", f.who, f.sessions.Add(1))
	since := f.r.record.now()
	s := &session{follower: f, name: name, since: since, missing: map[string]uint64{}}
	var places []door.Place
	for _, a := range f.addresses {
		p := door.Place{Address: a}
		if at := f.position(a); at.Epoch != "" {
			p.After = &door.Subscribed{Address: a, Position: at}
			if top := f.r.record.top(a); top.Epoch == at.Epoch && top.Seq > at.Seq {
				s.missing[a] = top.Seq
			}
			s.resumes = true
		}
		places = append(places, p)
	}
	err := f.sit(ctx, places, s.event)
	for _, a := range s.followed {
		f.r.record.add(judge.Event{Kind: judge.Unsubscribed, Who: f.who, Session: name, Address: a})
	}
	return err
}

// session is one session. What happens in it, happens one after the other.
type session struct {
	*follower
	name     string
	since    int64
	followed []string
	resumes  bool
	missing  map[string]uint64 // what was missed, up to this one
	heard    func(key string)  // is told of each message; nil for nobody
}

func (s *session) event(e door.Event) {
	switch {
	case e.Subscribed != nil:
		s.begins(*e.Subscribed)
	case e.Message != nil:
		s.message(*e.Message)
	case e.Gap != nil:
		s.gap(*e.Gap)
	}
}

func (s *session) begins(b door.Subscribed) {
	s.mu.Lock()
	from := s.at[b.Address]
	resumed := from.Epoch != ""
	if !resumed {
		s.at[b.Address] = b.Position
	}
	s.on = true
	s.mu.Unlock()
	s.r.record.add(judge.Event{
		Kind: judge.Subscribed, Who: s.who, Session: s.name, Address: b.Address, Position: b.Position, From: from, Resumed: resumed, Recovered: b.Recovered,
		Since: s.since,
	})
	s.followed = append(s.followed, b.Address)
	if len(s.followed) == len(s.addresses) {
		s.once(s.ready)
		s.caughtUp()
	}
}

// once closes a channel that one goroutine closes.
func (f *follower) once(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

func (s *session) message(m door.Message) {
	key, origin := decompose(m.Data)
	s.r.record.add(judge.Event{
		Kind: judge.Delivered, Who: s.who, Session: s.name, Address: m.To, Key: key, Origin: origin, Digest: digest(m.Data), Position: m.Position,
		Redelivered: m.Redelivered, Inbox: m.ToAck,
	})
	s.r.record.delivered(key, s.since)
	if s.heard != nil {
		s.heard(key)
	}
	s.mu.Lock()
	if at := s.at[m.To]; m.Position.Epoch != "" && (m.Position.Epoch != at.Epoch || m.Position.Seq > at.Seq) {
		s.at[m.To] = m.Position
	}
	over := false
	if key == s.r.last(m.To) && s.open[m.To] {
		delete(s.open, m.To)
		over = len(s.open) == 0
	}
	s.mu.Unlock()
	if s.missing[m.To] > 0 && m.Position.Seq >= s.missing[m.To] {
		delete(s.missing, m.To)
		s.caughtUp()
	}
	if over {
		s.once(s.ended)
	}
}

// caughtUp notes how long the session took for what was missed.
func (s *session) caughtUp() {
	if s.resumes && len(s.missing) == 0 && len(s.followed) == len(s.addresses) {
		s.resumes = false
		s.r.record.took(resumeTime, time.Duration(s.r.record.now()-s.since)*time.Microsecond)
	}
}

func (s *session) gap(g door.Gap) {
	s.r.record.add(judge.Event{
		Kind: judge.Gap, Who: s.who, Session: s.name, Address: g.Address, From: g.After, Position: g.To, Reason: g.Reason,
	})
	s.mu.Lock()
	s.at[g.Address] = g.To
	s.mu.Unlock()
	delete(s.missing, g.Address)
	s.caughtUp()
}

func (f *follower) position(address string) judge.Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at[address]
}

// again ends the session, so that another one resumes.
func (f *follower) again() {
	f.mu.Lock()
	drop := f.drop
	f.mu.Unlock()
	if drop != nil {
		drop()
	}
}

// state says whether the follower is in a session, and how the one before ended.
func (f *follower) state() (on bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.on, f.err
}
