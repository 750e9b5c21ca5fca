package redis

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// The log of events is in another slot than what they tell of. So what happened is noted in the step in which it happens. Then
// it is written to the log, under a key with which a repeat adds nothing, and forgotten. Whoever looks at the roster next, a
// reaper at the latest, writes what somebody left noted.

// untold is events of one address that are noted and not in the log yet, as JSON, in order.
type untold struct {
	to     bus.Address
	events []string
}

// eventID returns the id of an event that a script may note about an address. It is empty where no events are kept, and for
// addresses that are ours alone.
func (s *Store) eventID(to bus.Address) string {
	if !s.cfg.Events.Durable() || to.Kind() == bus.KindSystem {
		return ""
	}
	return bus.EventID(uuid.NewString())
}

// tell writes what was noted to the log and forgets it.
func (s *Store) tell(ctx context.Context, list []untold) error {
	var ps []bus.Publication
	var done []redis.Cmder
	for _, u := range list {
		for _, text := range u.events {
			// By value: two reapers may tell the same event, and each removes only that.
			done = append(done, redis.NewIntCmd(ctx, "lrem", s.keys.rosterUntold(u.to), 1, text))
			var e bus.Event
			if err := json.Unmarshal([]byte(text), &e); err != nil || !plainText(e.ID) || e.ID == "" || !inTime(uint64(e.Millis)) {
				s.garbage.drop(unreadEvent, u.to.String())
				continue
			}
			e.Address = u.to.String()
			ps = append(ps, e.Publication(s.cfg.Events))
		}
	}
	if len(done) == 0 {
		return nil
	}
	// It is forgotten only after this. If it is told twice in between, its key makes that one.
	if err := s.publishEvents(ctx, ps); err != nil {
		return err
	}
	return s.do(ctx, done...)
}

func (s *Store) publishEvents(ctx context.Context, ps []bus.Publication) error {
	if len(ps) == 0 {
		return nil
	}
	_, errs := s.publishAll(ctx, ps)
	return errors.Join(errs...)
}

// tellOrNote is tell for those who must not wait for the log: what cannot be told now is left to a reaper.
func (s *Store) tellOrNote(ctx context.Context, list []untold) error {
	err := s.tell(ctx, list)
	if err == nil {
		return nil
	}
	s.log.Warn("events could not be told, a reaper tries again", slog.String("error", err.Error()))
	// A reaper looks at the address soon, and finds what is noted there.
	cmds := make([]redis.Cmder, 0, len(list)+1)
	for _, u := range list {
		cmds = append(cmds, s.noteLook(ctx, u.to, s.Now()))
	}
	return s.do(ctx, append(cmds, expire(ctx, s.keys.rosterDue(), indexTTL))...)
}

// openedTTL is how long open connections are remembered after their process was heard of last. When every process is down, the
// first one that comes back tells of them.
const openedTTL = 24 * time.Hour

// Opened remembers connections.
func (s *Store) Opened(ctx context.Context, run string, connections []bus.Connection) error {
	// The process is noted first: connections of one that nobody knows would never be told to have ended.
	if _, err := s.run(ctx, aliveScript, []string{s.keys.runs()}, run, openedTTL.Milliseconds()); err != nil {
		return unavailable(err)
	}
	key := s.keys.opened(run)
	for chunk := range slices.Chunk(connections, bulk) {
		set := []any{"hset", key}
		for _, c := range chunk {
			b, err := json.Marshal(c)
			if err != nil {
				return bus.ErrInternal.Wrap(err)
			}
			set = append(set, c.ID, b)
		}
		if err := s.do(ctx, redis.NewIntCmd(ctx, set...), expire(ctx, key, openedTTL)); err != nil {
			return err
		}
	}
	return nil
}

// Ended forgets connections.
func (s *Store) Ended(ctx context.Context, run string, ids []string) error {
	for chunk := range slices.Chunk(ids, bulk) {
		del := []any{"hdel", s.keys.opened(run)}
		for _, id := range chunk {
			del = append(del, id)
		}
		if err := s.do(ctx, redis.NewIntCmd(ctx, del...)); err != nil {
			return err
		}
	}
	return nil
}

// Alive says that a process is alive.
func (s *Store) Alive(ctx context.Context, run string) (int, error) {
	if _, err := s.run(ctx, aliveScript, []string{s.keys.runs()}, run, openedTTL.Milliseconds()); err != nil {
		return 0, unavailable(err)
	}
	// The caller compares the number with its own, and tells again what was lost.
	count := redis.NewIntCmd(ctx, "hlen", s.keys.opened(run))
	err := s.do(ctx, expire(ctx, s.keys.opened(run), openedTTL), count)
	return int(count.Val()), err
}

func (s *Store) deadRunsCall(silent time.Duration) call {
	return call{deadRunsScript, []string{s.keys.runs(), s.keys.deadRuns()}, []any{silent.Milliseconds(), reapNodes, openedTTL.Milliseconds()}}
}

// reapRuns tells of what dead processes have left behind.
func (s *Store) reapRuns(ctx context.Context, cmd *redis.Cmd, silent time.Duration) (bool, error) {
	dead, err := heardOf(cmd)
	if err != nil {
		return false, err
	}
	more := len(dead) == reapNodes
	for run, heard := range dead {
		rest, err := s.reapRun(ctx, run, heard, silent)
		// Nobody can tell of it, and the others do not wait for it.
		if errors.Is(err, bus.ErrStoredForeign) {
			_, err = s.run(ctx, forgetRunScript, []string{s.keys.deadRuns()}, run, heard)
			err = unavailable(err)
		}
		if err != nil {
			return false, err
		}
		more = more || rest
	}
	return more, nil
}

// reapRun tells that connections of one dead process have ended, then that its members have gone, and in the end forgets
// the process.
func (s *Store) reapRun(ctx context.Context, run string, heard int64, silent time.Duration) (bool, error) {
	cmd, err := s.run(ctx, takeRunScript, []string{s.keys.opened(run), s.keys.deadOpened(run)}, reapMembers)
	if err != nil {
		return false, unavailable(err)
	}
	list, err := cmd.StringSlice()
	if err != nil {
		return false, failure(err)
	}
	del := []any{"hdel", s.keys.deadOpened(run)}
	var ps []bus.Publication
	for i := 0; i+1 < len(list); i += 2 {
		del = append(del, list[i])
		var c bus.Connection
		if json.Unmarshal([]byte(list[i+1]), &c) != nil || c.ID == "" || !inTime(uint64(c.Millis)) {
			s.garbage.drop(unreadConnection, run)
		} else {
			ps = append(ps, c.Disconnected(time.UnixMilli(heard), bus.LeftNode).Publication(s.cfg.Events))
		}
	}
	// Each call takes some until nothing is left. The process itself is forgotten by the last.
	if len(del) > 2 {
		if err := s.publishEvents(ctx, ps); err != nil {
			return false, err
		}
		return true, s.do(ctx, redis.NewIntCmd(ctx, del...))
	}
	// Nodes are forgotten after minutes, and then nobody else would look for their members.
	gone, err := s.silent(ctx, silent, 1, run)
	if err != nil {
		return false, err
	}
	if at, ok := gone[run]; ok {
		if at == 0 {
			at = heard
		}
		if rest, err := s.reapNode(ctx, run, at); rest || err != nil {
			return rest, err
		}
	}
	_, err = s.run(ctx, forgetRunScript, []string{s.keys.deadRuns()}, run, heard)
	return false, unavailable(err)
}
