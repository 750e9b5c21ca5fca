package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// A server begins another life with each restart and each time it becomes the master; its replication id tells one from the
// other. A script that is to append to a log of another life does not: it answers "prove", and what follows here finds out whether
// everything that was acknowledged in that life is certainly still there. If so the log goes on as it is. If not it forks: what
// follows has another epoch, and everybody who comes from before the fork is told that something may be missing.

// facts are what is known of a master's present life.
type facts struct {
	id string
	// before is the life that it went on from when it became the master; empty when it was the master from its start.
	before string
	// started is when the process started at the earliest, by its own clock, and begun when it had certainly started.
	started, begun time.Time
	// always says that it answers after it has written to its disk, and appends that it writes everything there at all: a server
	// that does not has at best read a snapshot at its start.
	always, appends bool
}

// noLife is what Redis says for no replication id.
const noLife = "0000000000000000000000000000000000000000"

// startSlack is how far the start of a process may be off: it is told in whole seconds.
const startSlack = 2 * time.Second

// lifeOf asks a master about its life.
func lifeOf(ctx context.Context, c *redis.Client) (facts, error) {
	info, err := c.Info(ctx).Result()
	if err != nil {
		return facts{}, err
	}
	now, err := c.Time(ctx).Result()
	if err != nil {
		return facts{}, err
	}
	uptime, err := strconv.Atoi(field(info, "uptime_in_seconds"))
	if err != nil {
		return facts{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	l := facts{id: field(info, "master_replid"), before: field(info, "master_replid2")}
	// The uptime is the difference of two times in whole seconds, so it is off by up to one either way.
	at := now.Add(-time.Duration(uptime) * time.Second)
	if l.started, l.begun = at.Add(-time.Second), at.Add(time.Second); l.begun.After(now) {
		l.begun = now
	}
	if l.before == noLife {
		l.before = ""
	}
	if field(info, "aof_enabled") == "1" {
		l.appends = true
		conf, err := c.ConfigGet(ctx, "appendfsync").Result()
		l.always = err == nil && conf["appendfsync"] == "always"
	}
	return l, nil
}

// keeps says whether everything that was acknowledged in an old life is there in this one. last is when the newest entry that is
// there was written, least how durable everything acknowledged was, and seen what this process saw of the old life.
func (l facts) keeps(old string, last time.Time, least Least, seen witness) bool {
	switch l.before {
	case old:
		// It became the master. It was a replica while its newest entry was written, which says nothing of what came after that: it
		// certainly has that too where as many replicas had to have everything as there ever were.
		all := seen.replicas > 0 && least.Replicas >= seen.replicas
		return least.Durability == bus.Replicated && all && last.After(l.started.Add(startSlack))
	case "": // it has read its own file
		return l.appends && (l.always && !seen.lax || least.Durability == bus.Fsynced)
	}
	return false
}

// witness is what this process saw of a life.
type witness struct {
	replicas int  // the most that the master had at once
	lax      bool // it was seen not to sync before it answers
}

// maxWitnesses is how many lives are remembered.
const maxWitnesses = 256

// saw notes how many replicas a master has in a life.
func (l *lives) saw(id string, replicas int) {
	l.witness(id, func(w *witness) { w.replicas = max(w.replicas, replicas) })
}

func (l *lives) witness(id string, note func(*witness)) {
	if id == "" {
		return
	}
	l.eyes.Lock()
	defer l.eyes.Unlock()
	w := l.seen[id]
	if w == nil {
		if l.seen == nil || len(l.seen) >= maxWitnesses { // what is forgotten proves nothing any more
			l.seen = map[string]*witness{}
		}
		w = &witness{}
		l.seen[id] = w
	}
	note(w)
}

// seenOf returns what was seen of a life.
func (l *lives) seenOf(id string) witness {
	l.eyes.Lock()
	defer l.eyes.Unlock()
	if w := l.seen[id]; w != nil {
		return *w
	}
	return witness{}
}

// watch notes whether a master syncs before it answers, and how many replicas it has.
func (l *lives) watch(ctx context.Context, c *redis.Client) {
	info, err := c.Info(ctx, "replication", "persistence").Result()
	if err != nil || field(info, "role") != "master" {
		return
	}
	lax := field(info, "aof_enabled") != "1"
	if !lax && !l.mute.Load() {
		conf, err := c.ConfigGet(ctx, "appendfsync").Result()
		lax = err == nil && conf["appendfsync"] != "always"
		l.mute.Store(forbidden(err)) // it is not asked again then, and proves nothing
	}
	n, _ := strconv.Atoi(field(info, "connected_slaves"))
	l.witness(field(info, "master_replid"), func(w *witness) { w.replicas, w.lax = max(w.replicas, n), w.lax || lax })
}

// snapshot says whether what is there is at best a snapshot from before this life. Much may be missing then, not just an end.
func (l facts) snapshot() bool { return l.before == "" && !l.appends }

// unproved is what a script answers that may not append yet.
type unproved struct {
	old, now string
	last     time.Time
}

// readUnproved reads such an answer; false for every other one.
func readUnproved(cmd *redis.Cmd) (unproved, bool) {
	answer, ok := cmd.Val().([]any)
	if !ok || len(answer) != 4 || answer[0] != "prove" {
		return unproved{}, false
	}
	ms, err := strconv.ParseInt(text(answer[3]), 10, 64)
	if err != nil {
		return unproved{}, false
	}
	return unproved{old: text(answer[1]), now: text(answer[2]), last: time.UnixMilli(ms)}, true
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// errUnproved is the cause of a refusal: the server began one life after the other while it was asked.
var errUnproved = errors.New("the life of the server changes")

// maxLives is how many lives a call follows.
const maxLives = 3

// settleLives settles the logs of the calls that may not append yet, and sends these calls again in their order. A command that is
// nil is none of a script.
func (s *Store) settleLives(ctx context.Context, calls []call, cmds []*redis.Cmd) error {
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

// prove settles the logs of calls that were answered "prove", and returns the places of these calls, which are to be sent again
// in their order. The first two keys of such a call are the stream and the meta hash.
func (s *Store) prove(ctx context.Context, calls []call, cmds []*redis.Cmd) (places []int, err error) {
	var settle []call
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
		if done[c.keys[1]] {
			continue
		}
		done[c.keys[1]] = true
		kept, since, err := s.kept(ctx, c.keys[1], u)
		if err != nil {
			return nil, err
		}
		one := call{script: settleLifeScript, keys: c.keys[:2:2], args: []any{u.old, u.now, "0", newEpoch()}}
		if kept {
			one.args[2] = "1"
		} else if !since.IsZero() {
			s.lost(ctx, "the server was restarted with a snapshot")
			one.keys = append(one.keys, s.keys.revoked(bus.Subject{Kind: bus.SubjectLost}))
			one.args = append(one.args, since.UnixMilli())
		}
		settle = append(settle, one)
	}
	if len(settle) == 0 {
		return nil, nil
	}
	answers, err := s.runOnce(ctx, settle)
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
// they are complete, where much of it may be missing: a token that was issued later was issued to somebody whose revocation is known.
func (s *Store) kept(ctx context.Context, key string, u unproved) (kept bool, since time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	client, _ := s.client.(*redis.Client)
	if s.cluster != nil {
		if client, err = s.cluster.MasterForKey(ctx, key); err != nil {
			return false, since, bus.ErrStoreUnavailable.Wrap(err)
		}
	}
	l, err := s.lives.of(ctx, client, u.now)
	if err != nil {
		return false, since, unavailable(err)
	}
	if l.id == u.now && l.keeps(u.old, u.last, s.least(key), s.lives.seenOf(u.old)) {
		return true, since, nil
	}
	if s.cluster != nil && s.livesElsewhere(ctx, u.old) {
		return true, since, nil
	}
	if l.id == u.now && l.snapshot() && key == s.keys.meta(bus.Revoked) {
		return false, l.begun, nil
	}
	return false, since, nil
}

// least is how durable everything is that was acknowledged at the address of a meta hash.
func (s *Store) least(key string) Least {
	name, ok := strings.CutPrefix(key, s.keys.prefix+"{")
	name, ok2 := strings.CutSuffix(name, "}:m")
	a, err := bus.StoredAddress(name)
	switch {
	case !ok || !ok2 || err != nil:
		return Least{}
	case a == bus.Revoked && s.cfg.Replicas > 0: // revocations are as durable as anything is
		return Least{bus.Replicated, s.cfg.Replicas}
	case a == bus.Revoked && s.cfg.Fsync:
		return Least{bus.Fsynced, 0}
	case s.cfg.Least == nil:
		return Least{}
	}
	return s.cfg.Least(a)
}

// livesElsewhere says whether a master of the Cluster lives the life, which is not that of the master that was to append: then
// the log was moved from there, as a whole.
func (s *Store) livesElsewhere(ctx context.Context, id string) bool {
	found := make(chan struct{}, 64)
	_ = s.cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { // one that does not answer says nothing
		if info, err := c.Info(ctx, "replication").Result(); err == nil && field(info, "master_replid") == id {
			select {
			case found <- struct{}{}:
			default:
			}
		}
		return nil
	})
	return len(found) > 0
}

// lives remembers what masters have said of their present lives.
type lives struct {
	mu    sync.Mutex       // held while a master is asked
	known map[string]facts // by address

	mute atomic.Bool // servers may not be asked for their settings

	eyes sync.Mutex          // never held for long: subscription connections take it
	seen map[string]*witness // by life
}

// of returns the life of a master, which is now the one with that id. An answer about another life is returned as it is: the
// caller compares.
func (l *lives) of(ctx context.Context, c *redis.Client, now string) (facts, error) {
	addr := c.Options().Addr
	l.mu.Lock()
	defer l.mu.Unlock() // whoever asks about the same moment waits for one answer
	if known, ok := l.known[addr]; ok && known.id == now {
		return known, nil
	}
	found, err := lifeOf(ctx, c)
	if err != nil {
		return facts{}, err
	}
	if l.known == nil {
		l.known = map[string]facts{}
	}
	l.known[addr] = found
	return found, nil
}
