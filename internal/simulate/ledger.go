package simulate

import (
	"fmt"
	"slices"
	"sync"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/judge"
)

// Ledger is the record of one run. Its clock counts events. All methods may be called concurrently.
type Ledger struct {
	store *Store

	mu       sync.Mutex
	clock    int64
	judge    *judge.Judge
	sittings map[string]*sitting
	placed   map[string]int // publishes in the order in which they were made, by place
	order    []*bus.Message
	wrong    []string
}

// sitting is what one subscriber was given of one address in one session.
type sitting struct {
	who, session string
	to           bus.Address
	got          map[string]bool
	begins       int // of the publishes of all addresses, how many were made before it
	ends         int // the same at its end; -1 before
}

// NewLedger returns an empty record of what happens over a store.
func NewLedger(s *Store) *Ledger {
	return &Ledger{store: s, judge: judge.New(), sittings: map[string]*sitting{}, placed: map[string]int{}}
}

func (l *Ledger) add(e judge.Event) {
	l.clock++
	e.At = l.clock
	l.judge.Add(e)
}

// Add records an event. Its time is the ledger's.
func (l *Ledger) Add(e judge.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(e)
}

func positionOf(p bus.Position) judge.Position { return judge.Position{Epoch: p.Epoch, Seq: p.Offset} }

// Publish publishes a message, and records it.
func (l *Ledger) Publish(a bus.Address) *bus.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.store.Publish(a)
	l.placed[at(a, m.Position)] = len(l.order)
	l.order = append(l.order, m)
	l.add(judge.Event{Kind: judge.Sent, Who: "publisher", Address: a.String(), Key: m.ID, Digest: "1"})
	l.add(judge.Event{Kind: judge.Answered, Who: "publisher", Address: a.String(), Key: m.ID, Position: positionOf(m.Position)})
	return m
}

func at(a bus.Address, p bus.Position) string { return a.String() + " " + spell(p) }

// Subscribed records that somebody follows an address from a position on, or resumes after one.
func (l *Ledger) Subscribed(who, session string, a bus.Address, from bus.Position, resumed, recovered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &sitting{who: who, session: session, to: a, got: map[string]bool{}, ends: -1, begins: len(l.order)}
	if i, ok := l.placed[at(a, from)]; ok {
		s.begins = i + 1
	} else if from.Offset == 0 {
		s.begins = l.before(a, from)
	}
	l.sittings[session+" "+a.String()] = s
	e := judge.Event{Kind: judge.Subscribed, Who: who, Session: session, Address: a.String(), Position: positionOf(from)}
	if resumed {
		e.Position, e.From, e.Resumed, e.Recovered = judge.Position{}, positionOf(from), true, recovered
	}
	l.add(e)
	l.store.tell("%s follows %s from %s, resumed %v", who, a, spell(from), resumed)
}

// before is how many publishes were made before an epoch began, as far as that can be said.
func (l *Ledger) before(a bus.Address, from bus.Position) int {
	for i, m := range l.order {
		if m.To == a && m.Position.Epoch == from.Epoch {
			return i
		}
	}
	return len(l.order)
}

// Left records that a session follows an address no more.
func (l *Ledger) Left(who, session string, a bus.Address) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := session + " " + a.String()
	if s := l.sittings[key]; s != nil {
		s.ends = 0
		delete(l.sittings, key)
	}
	l.add(judge.Event{Kind: judge.Unsubscribed, Who: who, Session: session, Address: a.String()})
	l.store.tell("%s follows %s no more", who, a)
}

// Delivered records a message that came.
func (l *Ledger) Delivered(who, session string, m *bus.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.sittings[session+" "+m.To.String()]; s != nil {
		s.got[m.ID] = true
	}
	l.add(judge.Event{
		Kind: judge.Delivered, Who: who, Session: session, Address: m.To.String(), Key: m.ID, Digest: string(m.Data), Position: positionOf(m.Position),
		Origin: m.To.String(), Redelivered: m.Redelivered,
	})
	l.store.tell("%s is given %s", who, said(m))
}

// Gap records a gap that was told.
func (l *Ledger) Gap(who, session string, g bus.Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(judge.Event{
		Kind: judge.Gap, Who: who, Session: session, Address: g.Address.String(), From: positionOf(g.From), Position: positionOf(g.To), Reason: string(g.Reason),
	})
	l.store.tell("%s is told a gap in %s from %s to %s: %s", who, g.Address, spell(g.From), spell(g.To), g.Reason)
}

// Finished records that a subscriber has read an address to its end.
func (l *Ledger) Finished(who string, a bus.Address) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(judge.Event{Kind: judge.Finished, Who: who, Address: a.String()})
}

// Wrong records what no event can say.
func (l *Ledger) Wrong(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	l.store.tell("WRONG: "+format, args...)
}

// Verdict says what is wrong, one sentence for each; none when nothing is. Messages may be missing behind a gap only when the store has
// lost them.
func (l *Ledger) Verdict() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	wrong := slices.Clone(l.wrong)
	v := l.judge.Verdict()
	for _, count := range judge.Counts() {
		if count != judge.Declared && v.Counts[count] > 0 {
			wrong = append(wrong, fmt.Sprintf("%s %d: %s", count, v.Counts[count], v.Findings[count][0]))
		}
	}
	for _, s := range l.sittings {
		for _, m := range l.order[s.begins:] {
			if m.To == s.to && !s.got[m.ID] && !l.store.Destroyed(m.ID) {
				wrong = append(wrong, fmt.Sprintf("skipped: %s never came to %s, and the store has it", said(m), s.who))
				break
			}
		}
	}
	return wrong
}
