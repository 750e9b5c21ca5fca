package redis

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// A roster is several keys of one address, so every change of it is one step. What has to be looked at later is found through two
// indexes in another slot. They are written before the roster: an entry too many costs a look, one too few would leave a ghost.

const (
	// rosterTTL is how long a roster outlives its last Join or Touch. Members do not live that long without their node: those of
	// a dead node are reaped. Somebody still has to tell that an address was vacated, however late.
	rosterTTL = 4 * bus.RosterTouch
	// indexTTL is how long an entry of a node's index outlives its last Join or Touch.
	indexTTL = 2 * rosterTTL
)

// Join adds a member.
func (s *Store) Join(ctx context.Context, to bus.Address, m bus.Member) error {
	b, err := json.Marshal(m)
	if err != nil {
		return bus.ErrInternal.Wrap(err)
	}
	index := s.keys.nodeIndex(m.Node)
	now := s.Now().UnixMilli()
	// The index comes first: without it a member of a dead node would never be found.
	if err := s.do(ctx, redis.NewIntCmd(ctx, "zadd", index, now, to.String()), expire(ctx, index, indexTTL)); err != nil {
		return err
	}
	names := append(s.rosterKeys(to), s.keys.rosterNode(to, m.Node), s.keys.push(to), s.keys.rosterUntold(to))
	cmd, err := s.run(ctx, rosterJoinScript, names, m.Connection, m.Client, b, rosterTTL.Milliseconds(),
		s.publishVerb(), uuid.NewString(), s.presenceEnvelope(), m.Joined.UnixMilli(), s.eventID(to), flag(m.Quiet))
	if err != nil {
		return unavailable(err)
	}
	events, err := cmd.StringSlice()
	if err != nil {
		return failure(err)
	}
	return s.tellOrNote(ctx, []untold{{to, events}})
}

func expire(ctx context.Context, key string, d time.Duration) redis.Cmder {
	return redis.NewIntCmd(ctx, "pexpire", key, d.Milliseconds())
}

// rosterKeys are the members, their order, the clients' counts and the lost members.
func (s *Store) rosterKeys(to bus.Address) []string {
	return []string{s.keys.roster(to), s.keys.rosterOrder(to), s.keys.rosterClients(to), s.keys.rosterLost(to)}
}

// presenceEnvelope is what the envelopes of events have in common; a script adds the id and the data.
func (s *Store) presenceEnvelope() []byte {
	return encode(&bus.Message{ContentType: bus.JSON, Kind: bus.MessagePresence, Published: s.Now()})
}

// Leave removes a member.
func (s *Store) Leave(ctx context.Context, to bus.Address, connection string) error {
	_, events, err := s.remove(ctx, []removal{{to: to, mode: "one", what: connection}})
	if err != nil {
		return err
	}
	return s.tellOrNote(ctx, events)
}

// Lose notes that the connection of a member broke.
func (s *Store) Lose(ctx context.Context, to bus.Address, connection string, at time.Time, grace time.Duration) error {
	// Redis measures from its own clock, so that the clocks of the nodes may differ.
	ago := max(time.Since(at), 0)
	// Noted before the member counts as lost: without a look nothing would end its grace.
	if err := s.do(ctx, s.noteLook(ctx, to, s.Now().Add(grace-ago)), expire(ctx, s.keys.rosterDue(), indexTTL)); err != nil {
		return err
	}
	_, err := s.run(ctx, rosterLoseScript, []string{s.keys.roster(to), s.keys.rosterLost(to)},
		connection, ago.Milliseconds(), grace.Milliseconds(), rosterTTL.Milliseconds())
	return unavailable(err)
}

// dueStep is how close two times have to be to share an entry in the index. Entries for different times never meet, so
// that removing one that has been looked at cannot remove what was noted meanwhile.
const dueStep = 200 * time.Millisecond

// noteLook notes when an address has to be looked at.
func (s *Store) noteLook(ctx context.Context, to bus.Address, at time.Time) redis.Cmder {
	step := dueStep.Milliseconds()
	ms := (at.UnixMilli()/step + 1) * step
	return redis.NewIntCmd(ctx, "zadd", s.keys.rosterDue(), ms, to.String()+" "+strconv.FormatInt(ms, 10))
}

// Members returns a page of the members. What it finds of dead nodes that nobody reaped is removed first.
func (s *Store) Members(ctx context.Context, to bus.Address, after string, limit int) (bus.MemberPage, error) {
	for try := 0; ; try++ {
		page, err := s.page(ctx, to, after, limit)
		// A reader does not clean up for ever: what is left after two rounds is for a reaper.
		if err != nil || try == 2 {
			return page, err
		}
		dead, err := s.left(ctx, to, page.Members)
		if err != nil || len(dead) == 0 {
			return page, err
		}
		_, events, err := s.remove(ctx, dead)
		if err == nil {
			err = s.tellOrNote(ctx, events)
		}
		if err != nil {
			return bus.MemberPage{}, err
		}
	}
}

// pageRounds is how often one call reads on where nothing that it read is a member, or a channel.
const pageRounds = 64

// page reads past what is no member, so that a page is empty only at the end.
func (s *Store) page(ctx context.Context, to bus.Address, after string, limit int) (bus.MemberPage, error) {
	var page bus.MemberPage
	for range pageRounds {
		// One more than asked for, to know whether there are more.
		cmd, err := s.run(ctx, rosterPageScript, []string{s.keys.roster(to), s.keys.rosterOrder(to)}, after, limit+1)
		if err != nil {
			return bus.MemberPage{}, unavailable(err)
		}
		texts, err := cmd.StringSlice()
		if err != nil || len(texts) == 0 {
			return bus.MemberPage{}, s.misread(err, to.String())
		}
		if page.Total, err = strconv.Atoi(texts[0]); err != nil {
			return bus.MemberPage{}, s.misread(err, to.String())
		}
		texts = texts[1:]
		if page.More = len(texts) > 2*limit; page.More {
			texts = texts[:2*limit]
		}
		for i := 0; i+1 < len(texts); i += 2 {
			after = texts[i]
			if m, ok := s.member(to, after, texts[i+1]); ok {
				page.Members = append(page.Members, m)
			}
		}
		if len(page.Members) > 0 || !page.More {
			break
		}
	}
	return page, nil
}

// member reads what is known of a connection; false where that is no member.
func (s *Store) member(to bus.Address, connection, text string) (m bus.Member, ok bool) {
	_, text, _ = strings.Cut(text, " ")
	if json.Unmarshal([]byte(text), &m) != nil || m.Connection != connection || !bus.InTime(m.Joined) {
		s.garbage.drop(unreadMember, to.String())
		return m, false
	}
	return m, true
}

// left returns what to remove because its node is dead. A node that was never heard of may be about to be.
func (s *Store) left(ctx context.Context, to bus.Address, members []bus.Member) ([]removal, error) {
	// The oldest member shows for how long a node without a sign of life has had time to give one.
	oldest := make(map[string]time.Time)
	for _, m := range members {
		if at, ok := oldest[m.Node]; !ok || m.Joined.Before(at) {
			oldest[m.Node] = m.Joined
		}
	}
	if len(oldest) == 0 {
		return nil, nil
	}
	names := make([]any, 0, len(oldest))
	for name := range oldest {
		names = append(names, name)
	}
	silent, err := s.silent(ctx, bus.NodeTTL, len(names), names...)
	if err != nil {
		return nil, err
	}
	var dead []removal
	for name, heard := range silent {
		if heard == 0 {
			if s.Now().Sub(oldest[name]) < bus.NodeTTL {
				continue
			}
			heard = s.Now().UnixMilli()
		}
		dead = append(dead, removal{to: to, mode: "node", what: name, heard: heard})
	}
	return dead, nil
}

// Listed says whether a connection of the client is among the members.
func (s *Store) Listed(ctx context.Context, to bus.Address, client string) (bool, error) {
	cmd := redis.NewBoolCmd(ctx, "hexists", s.keys.rosterClients(to), client)
	if err := s.do(ctx, cmd); err != nil {
		return false, err
	}
	return cmd.Val(), nil
}

// Touch keeps rosters and the node's index from expiring.
func (s *Store) Touch(ctx context.Context, node string, addresses []bus.Address) ([]bus.Address, error) {
	var missing []bus.Address
	index := s.keys.nodeIndex(node)
	now := s.Now()
	for chunk := range slices.Chunk(addresses, bulk) {
		// Before the rosters, as in Join.
		note := []any{"zadd", index}
		calls := make([]call, len(chunk))
		for i, a := range chunk {
			note = append(note, now.UnixMilli(), a.String())
			calls[i] = call{rosterTouchScript, append(s.rosterKeys(a), s.keys.rosterNode(a, node)), []any{rosterTTL.Milliseconds()}}
		}
		// Leave does not touch the index, so what a node has left long ago is removed here.
		old := redis.NewIntCmd(ctx, "zremrangebyscore", index, "-inf", now.Add(-indexTTL).UnixMilli())
		if err := s.do(ctx, redis.NewIntCmd(ctx, note...), old, expire(ctx, index, indexTTL)); err != nil {
			return missing, err
		}
		cmds, err := s.runAll(ctx, calls)
		if err != nil {
			return missing, err
		}
		for i, cmd := range cmds {
			there, err := cmd.Int64()
			switch {
			case isForeign(err): // the node's other rosters are touched all the same
			case err != nil:
				return missing, failure(err)
			case there == 0:
				missing = append(missing, chunk[i])
			}
		}
	}
	return missing, nil
}
