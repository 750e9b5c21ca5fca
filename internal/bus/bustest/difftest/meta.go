package difftest

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/internal/bus"
)

// token keeps, reads or drops one of a few tokens.
func (m *machine) token(rt *rapid.T) {
	id := m.run + fmt.Sprint(rapid.IntRange(0, 2).Draw(rt, "token"))
	value := fmt.Sprint(rapid.IntRange(0, 9).Draw(rt, "value"))
	verb := rapid.IntRange(0, 3).Draw(rt, "verb")
	m.both(rt, "token", func(_ int, s bus.Store) string {
		out := ""
		switch verb {
		case 0:
			out = reason(s.DropToken(context.Background(), id))
		case 1:
			out = reason(s.SaveToken(context.Background(), id, []byte(value), units(2)))
		}
		v, err := s.Token(context.Background(), id)
		return out + string(v) + reason(err)
	})
}

// family exchanges refresh tokens, repeats included.
func (m *machine) family(rt *rapid.T) {
	family := m.run + fmt.Sprint(rapid.IntRange(0, 1).Draw(rt, "family"))
	old, next := fmt.Sprint("t", rapid.IntRange(0, 3).Draw(rt, "old")), fmt.Sprint("t", rapid.IntRange(0, 3).Draw(rt, "next"))
	begin := rapid.IntRange(0, 3).Draw(rt, "begin") == 0
	m.both(rt, "family", func(_ int, s bus.Store) string {
		if begin {
			return reason(s.SaveFamily(context.Background(), family, old, []byte("first"), units(4)))
		}
		x, err := s.Exchange(context.Background(), family, bus.Exchange{
			Old: old, New: next, Value: []byte("value of " + next), TTL: units(4), Answer: []byte("to " + next), Window: units(1),
		})
		v, err2 := s.Family(context.Background(), family)
		return fmt.Sprint(reason(err), x.Outcome, string(x.Answer), string(v), reason(err2))
	})
}

// revoke revokes, or asks.
func (m *machine) revoke(rt *rapid.T) {
	subject := bus.Subject{Kind: "user", ID: m.run + fmt.Sprint(rapid.IntRange(0, 1).Draw(rt, "subject"))}
	before := m.began.Add(time.Duration(rapid.IntRange(0, 5).Draw(rt, "before")) * unit)
	ask := rapid.Bool().Draw(rt, "ask")
	m.both(rt, "revoke", func(_ int, s bus.Store) string {
		out := ""
		if !ask {
			out = reason(s.Revoke(context.Background(), subject, before, units(3)))
		}
		times, err := s.RevokedBefore(context.Background(), []bus.Subject{subject, {Kind: "user", ID: m.run}})
		for _, at := range times {
			out += fmt.Sprint(" ", at.UnixMilli())
		}
		return out + reason(err)
	})
}

// retained reads the last message of an address, in its place among the others.
func (m *machine) retained(rt *rapid.T) {
	if m.ears[0] == nil {
		return
	}
	to := rapid.SampledFrom(m.channels).Draw(rt, "to")
	mark := uuid.NewString()
	m.both(rt, "retained", func(i int, _ bus.Store) string {
		last, err := m.ears[i].feed.Retained(context.Background(), to, mark)
		if err != nil || last.Message == nil {
			return reason(err)
		}
		return fmt.Sprint(last.Message.ID, last.Message.Position.Offset, string(last.Message.Data), last.Bare)
	})
	m.heard(rt, 1) // the mark
}

// create creates a channel.
func (m *machine) create(rt *rapid.T) {
	a := rapid.SampledFrom(m.channels).Draw(rt, "channel")
	c := bus.Channel{Address: a, Labels: map[string]string{"n": fmt.Sprint(rapid.IntRange(0, 3).Draw(rt, "label"))}, Created: m.began}
	m.both(rt, "create", func(_ int, s bus.Store) string {
		err := s.CreateChannel(context.Background(), c, 0)
		got, err2 := s.Channel(context.Background(), a)
		return fmt.Sprint(reason(err), got.Labels, reason(err2))
	})
}

// deleteChannel deletes a channel and what it has kept.
func (m *machine) deleteChannel(rt *rapid.T) {
	a := rapid.SampledFrom(m.channels).Draw(rt, "channel")
	gone := 0
	m.both(rt, "delete channel", func(_ int, s bus.Store) string {
		err := s.DeleteChannel(context.Background(), a)
		if err == nil {
			gone, m.revisions[a] = 1, 0
		}
		return reason(err)
	})
	m.heard(rt, gone)
}
