package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// A server begins another life with each restart and each time it becomes the master; its replication id tells one from the
// other. A script that is to append to a log of another life does not: it answers "prove". What follows here finds out whether
// everything that was acknowledged in that life is certainly still there. If so the log goes on as it is. If not it forks: what
// follows has another epoch, and everybody who comes from before the fork is told that something may be missing.

// unproved is what a script answers that may not append yet.
type unproved struct {
	old, now string
	last     time.Time
	top      bus.Position // where the log ends
}

// readUnproved reads such an answer; false for every other one.
func readUnproved(cmd *redis.Cmd) (unproved, bool) {
	answer, ok := cmd.Val().([]any)
	if !ok || len(answer) != 6 || answer[0] != "prove" {
		return unproved{}, false
	}
	ms, err := strconv.ParseInt(text(answer[3]), 10, 64)
	if err != nil {
		return unproved{}, false
	}
	top := bus.Position{Epoch: text(answer[4]), Offset: uintOf(answer[5])}
	return unproved{old: text(answer[1]), now: text(answer[2]), last: time.UnixMilli(ms), top: top}, true
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// errUnproved is the cause of a refusal: the server began one life after the other while it was asked.
var errUnproved = errors.New("the life of the server changes")

// maxLives is how many lives a call follows.
const maxLives = 3

// proveLives proves the logs of the calls that may not append yet, and sends these calls again in their order. A command that is
// nil is none of a script.
func (s *Store) proveLives(ctx context.Context, calls []call, cmds []*redis.Cmd) error {
	// The server may begin yet another life while it is asked.
	for range maxLives {
		places, err := s.prove(ctx, calls, cmds)
		if err != nil || len(places) == 0 {
			return err
		}
		again := make([]call, len(places))
		for j, i := range places {
			again[j] = calls[i]
		}
		answers, err := s.runOnce(ctx, again)
		if err != nil {
			return err
		}
		for j, i := range places {
			cmds[i] = answers[j]
		}
	}
	return nil
}

// prove proves the logs of calls that were answered "prove". It returns the places of these calls, which are to be sent again in
// their order. The first two keys of such a call are the stream and the meta hash.
func (s *Store) prove(ctx context.Context, calls []call, cmds []*redis.Cmd) (places []int, err error) {
	var proofs []call
	done := map[string]bool{}
	for i, cmd := range cmds {
		if cmd == nil {
			continue
		}
		u, ok := readUnproved(cmd)
		if !ok {
			continue
		}
		places = append(places, i)
		c := calls[i]
		// Several calls of one log are proved by one.
		if done[c.keys[1]] {
			continue
		}
		done[c.keys[1]] = true
		if c.script == beginScript {
			one, err := s.proveBeginning(ctx, c.keys[:2:2], u)
			if err != nil {
				return nil, err
			}
			proofs = append(proofs, one)
			continue
		}
		kept, since, err := s.kept(ctx, c.keys[1], u)
		if err != nil {
			return nil, err
		}
		one := call{script: proveLifeScript, keys: c.keys[:2:2], args: []any{u.old, u.now, "0", bus.NewEpoch()}}
		// A log that cannot be proved whole goes on under another epoch.
		if kept {
			one.args[2] = "1"
		} else if !since.IsZero() {
			s.lost(ctx, "the server was restarted with a snapshot")
			one.keys = append(one.keys, s.keys.revoked(bus.Subject{Kind: bus.SubjectLost}))
			one.args = append(one.args, since.UnixMilli())
		}
		proofs = append(proofs, one)
	}
	if len(proofs) == 0 {
		return nil, nil
	}
	answers, err := s.runOnce(ctx, proofs)
	if err != nil {
		return nil, unavailable(err)
	}
	for _, cmd := range answers {
		if err := cmd.Err(); err != nil {
			return nil, failure(err)
		}
	}
	return places, nil
}

// kept says whether everything acknowledged in the old life of a log is there. For the log of revocations it also says since when
// they are complete, where much of it may be missing. A token that was issued later was issued to somebody whose revocation is
// known.
func (s *Store) kept(ctx context.Context, key string, u unproved) (kept bool, since time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	a := s.addressOf(key)
	l, kept, err := s.carries(ctx, key, s.least(a), u)
	if err != nil {
		return false, since, err
	}
	// A file may have been cut, or be an older one that was put back. No server says so of itself. Of other logs there may be nothing
	// left at all then.
	if kept && s.confirmed.beyond(a, bus.Position{Epoch: s.epoch(u.top.Epoch), Offset: u.top.Offset}) {
		return false, since, s.endBeginnings(ctx, a)
	}
	// A snapshot may lack far more than an end.
	if begun, only := l.Snapshot(); !kept && l.ID == u.now && only && a == bus.Revoked {
		since = begun
	}
	return kept, since, nil
}

// carries says whether the present life of a server has everything that was acknowledged in an old one. It is the server of a key, and
// least is how durable that was.
func (s *Store) carries(ctx context.Context, key string, least Least, u unproved) (l server.Life, kept bool, err error) {
	to, err := s.pipes.OfKey(ctx, key)
	if err != nil {
		return l, false, err
	}
	l, err = s.lives.Of(ctx, to.Client(), u.now)
	if err != nil {
		return l, false, unavailable(err)
	}
	if l.ID == u.now && l.Keeps(u.old, u.last, least, s.lives.SeenOf(u.old)) {
		return l, true, nil
	}
	// A slot that has moved brings its keys from a server that lives on.
	return l, s.cluster != nil && s.livesElsewhere(ctx, u.old), nil
}

// addressOf is the address of a meta hash; zero when the key is none.
func (s *Store) addressOf(key string) bus.Address {
	name, ok := strings.CutPrefix(key, s.keys.prefix+"{")
	name, ok2 := strings.CutSuffix(name, "}:m")
	if a, err := bus.StoredAddress(name); ok && ok2 && err == nil {
		return a
	}
	return bus.Address{}
}

// confirmedSize is of how many addresses a store remembers how far they were confirmed, twice.
const confirmedSize = 1 << 15

// confirmed remembers how far this process has confirmed what it published, of the addresses that were used last. So a log that
// ends sooner is known to have lost its end.
type confirmed struct {
	mu         sync.Mutex
	young, old map[bus.Address]bus.Position
}

// note notes that a publication is answered OK.
func (c *confirmed) note(a bus.Address, at bus.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, ok := c.young[a]
	if !ok {
		last = c.old[a]
	}
	if ok && last.Epoch == at.Epoch && last.Offset >= at.Offset {
		return // answers may overtake each other
	}
	if !ok && len(c.young) >= confirmedSize {
		c.old, c.young = c.young, nil
	}
	if c.young == nil {
		c.young = map[bus.Address]bus.Position{}
	}
	c.young[a] = at
}

// beyond says whether more was confirmed than a log has that ends at a position.
func (c *confirmed) beyond(a bus.Address, top bus.Position) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, ok := c.young[a]
	if !ok {
		last = c.old[a]
	}
	return last.Epoch == top.Epoch && last.Offset > top.Offset
}

// least is how durable everything is that was acknowledged at an address.
func (s *Store) least(a bus.Address) Least {
	switch {
	case a.IsZero():
		return Least{}
	case a == bus.Revoked && s.cfg.Replicas > 0: // revocations are as durable as anything is
		return Least{Durability: bus.Replicated, Replicas: s.cfg.Replicas}
	case a == bus.Revoked && s.cfg.Fsync:
		return Least{Durability: bus.Fsynced}
	case s.cfg.Least == nil:
		return Least{}
	}
	return s.cfg.Least(a)
}

// livesElsewhere says whether a master of the Cluster lives the life, while the master that was to append lives another. If so,
// the log was moved from there, as a whole.
func (s *Store) livesElsewhere(ctx context.Context, id string) bool {
	found := make(chan struct{}, 64)
	_ = s.pipes.EachMaster(ctx, func(ctx context.Context, c *redis.Client) error { // one that does not answer says nothing
		if info, err := c.Info(ctx, "replication").Result(); err == nil && server.Field(info, "master_replid") == id {
			// One is enough; nobody waits to be heard.
			select {
			case found <- struct{}{}:
			default:
			}
		}
		return nil
	})
	return len(found) > 0
}
