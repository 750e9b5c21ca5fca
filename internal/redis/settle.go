package redis

import (
	"context"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/pipes"
)

// dueSets is over how many sorted sets the times of messages are spread.
const dueSets = 16

// dueKey spreads the messages of one address too: an inbox that was filled at once comes due at once.
func (s *Store) dueKey(member string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(member)) // a hash never fails
	return s.keys.due(int(h.Sum32() % dueSets))
}

// dueMember is what stands in a sorted set; neither an address nor an id has a line break.
func dueMember(to bus.Address, id string) string { return to.String() + "\n" + id }

// dueLife is how long a sorted set outlives its last change: longer than any message is kept.
const dueLife = 40 * 24 * time.Hour

// dueCall notes when a message that asks for an ack has to be looked at.
func (s *Store) dueCall(p *bus.Publication) call {
	first, member := min(p.Ack.Timeout, p.Ack.Keep), dueMember(p.Message.To, p.Message.ID)
	return call{
		script: dueAddScript,
		keys:   []string{s.dueKey(member)},
		args:   []any{member, max(first.Milliseconds(), 0), dueLife.Milliseconds()},
	}
}

// checkDue sends again what a server did not know the script of, and says what could not be noted.
func (s *Store) checkDue(ctx context.Context, calls []call, noted []redis.Cmder) {
	var again []call
	for i, cmd := range noted {
		switch err := cmd.Err(); {
		case redis.HasErrorPrefix(err, "NOSCRIPT"):
			// The server has not run it, so nothing is noted twice.
			again = append(again, calls[i])
		case err != nil:
			if err = s.noteElsewhere(ctx, calls[i], err); err != nil {
				s.log.Warn("the time of a message could not be noted", slog.String("error", err.Error()))
			}
		}
	}
	if len(again) == 0 {
		return
	}
	if err := s.noteDues(ctx, again); err != nil {
		s.log.Warn("the times of messages could not be noted", slog.String("error", err.Error()))
	}
}

// noteDues notes the times of messages.
func (s *Store) noteDues(ctx context.Context, calls []call) error {
	cmds, err := s.runAll(ctx, calls)
	if err != nil {
		return unavailable(err)
	}
	var failed error
	for i, cmd := range cmds {
		if cmd.Err() == nil {
			continue
		}
		if err := s.noteElsewhere(ctx, calls[i], cmd.Err()); err != nil {
			failed = err
		}
	}
	return failed
}

// noteElsewhere notes a time whose own master has failed, in a sorted set of another master. A message does not depend on a
// master that has nothing else of it. DueDeliveries brings the time home.
func (s *Store) noteElsewhere(ctx context.Context, c call, failed error) error {
	tried := make(map[*pipes.Pipe]bool)
	for n := -1; s.cluster != nil && n < dueSets; n++ {
		key := c.keys[0]
		if n >= 0 {
			key = s.keys.due(n)
		}
		to, err := s.pipes.OfKey(ctx, key)
		// Another set of the same master would fail for the same reason.
		if err != nil || tried[to] {
			continue
		}
		tried[to] = true
		if n < 0 {
			continue // its own
		}
		if err := s.note(ctx, []call{{c.script, []string{key}, c.args}}); err == nil {
			return nil
		}
	}
	return unavailable(failed)
}

// bringHome moves messages that were lent from a set that is not their own.
func (s *Store) bringHome(ctx context.Context, set string, members []string) {
	var calls []call
	for _, m := range members {
		// It is added there before it is removed here, so that it is always in one of them.
		calls = append(calls, call{dueAddScript, []string{s.dueKey(m)}, []any{m, lent.Milliseconds(), dueLife.Milliseconds()}})
	}
	cmds, err := s.runAll(ctx, calls)
	if err != nil {
		return // another time
	}
	gone := []any{"zrem", set}
	for i, cmd := range cmds {
		if cmd.Err() == nil {
			gone = append(gone, members[i])
		}
	}
	if len(gone) > 2 {
		_ = s.do(ctx, redis.NewIntCmd(ctx, gone...)) // what stays is lent, and brought home, again
	}
}

// undue takes messages that have ended out of the times to look at them. It says nothing when it fails: the look that
// remains finds that there is nothing to do.
func (s *Store) undue(ctx context.Context, over []bus.Due) {
	// One command for each sorted set, because a Cluster takes none that spans several slots.
	by := make(map[string][]any)
	for _, d := range over {
		member := dueMember(d.To, d.ID)
		by[s.dueKey(member)] = append(by[s.dueKey(member)], member)
	}
	if len(by) == 0 {
		return
	}
	cmds := make([]redis.Cmder, 0, len(by))
	for key, members := range by {
		cmds = append(cmds, redis.NewIntCmd(ctx, append([]any{"zrem", key}, members...)...))
	}
	_ = s.do(ctx, cmds...)
}

// redue notes when to look again at messages: scores and members, by sorted set.
func (s *Store) redue(ctx context.Context, by map[string][]any) {
	var calls []call
	for key, args := range by {
		// Chunks keep each script short. Two arguments, a score and a member, stand for one message.
		for part := range slices.Chunk(args, 2*ackChunk) {
			calls = append(calls, call{dueMoveScript, []string{key}, part})
		}
	}
	if len(calls) == 0 {
		return
	}
	if err := s.note(ctx, calls); err != nil {
		s.log.Debug("times to look at messages could not be noted; they are looked at once more", slog.String("error", err.Error()))
	}
}

// lent is for how long DueDeliveries lends a message.
const lent = 10 * time.Second

// DueDeliveries lends out messages whose time may have come, about as many of each sorted set.
func (s *Store) DueDeliveries(ctx context.Context, limit int) ([]bus.Due, error) {
	// Sweepers begin at different sets, so that a small limit serves all of them in turn.
	first := rand.IntN(dueSets) //nolint:gosec // turns need no secret
	var calls []call
	var sets []int
	for i := range dueSets {
		if share := (limit + i) / dueSets; share > 0 {
			n := (first + i) % dueSets
			sets = append(sets, n)
			calls = append(calls, call{dueScript, []string{s.keys.due(n)}, []any{share, lent.Milliseconds()}})
		}
	}
	cmds, err := s.runAll(ctx, calls)
	if err != nil {
		return nil, unavailable(err)
	}
	var due []bus.Due
	var failed error
	answered := false
	for i, cmd := range cmds {
		members, err := cmd.StringSlice()
		if err != nil {
			failed = err // of one master: the others' messages do not wait for it
			continue
		}
		answered = true
		var strangers []string
		for _, m := range members {
			if s.dueKey(m) != s.keys.due(sets[i]) {
				strangers = append(strangers, m)
			}
			name, id, _ := strings.Cut(m, "\n")
			to, err := bus.ParseAddress(name)
			if err != nil {
				_ = s.do(ctx, redis.NewIntCmd(ctx, "zrem", s.keys.due(sets[i]), m)) // not ours; it would come back for ever
				continue
			}
			due = append(due, bus.Due{To: to, ID: id})
		}
		if len(strangers) > 0 {
			s.bringHome(ctx, s.keys.due(sets[i]), strangers)
		}
	}
	if !answered && failed != nil {
		return nil, unavailable(failed)
	}
	return due, nil
}

// DueStats says how much there is to settle.
func (s *Store) DueStats(ctx context.Context) (bus.DueStats, error) {
	calls := make([]call, dueSets)
	for i := range calls {
		calls[i] = call{script: dueStatsScript, keys: []string{s.keys.due(i)}}
	}
	cmds, err := s.runAll(ctx, calls)
	if err != nil {
		return bus.DueStats{}, unavailable(err)
	}
	var stats bus.DueStats
	for _, cmd := range cmds {
		said, err := cmd.Int64Slice()
		if err != nil || len(said) != 2 {
			return stats, s.misread(err, "the messages that are due")
		}
		stats.Count += int(said[0])
		// One set that lags is enough to say that sweepers are behind, so no average is taken.
		stats.Late = max(stats.Late, time.Duration(said[1])*time.Millisecond)
	}
	return stats, nil
}

// Judge says what Settle would do to messages now.
func (s *Store) Judge(ctx context.Context, due []bus.Due) ([]bus.Verdict, []error) {
	out, errs := make([]bus.Verdict, len(due)), make([]error, len(due))
	calls := make([]call, len(due))
	for i, d := range due {
		calls[i] = call{script: inboxJudgeScript, keys: []string{s.keys.delivery(d.To, d.ID)}}
	}
	cmds, err := s.runAll(ctx, calls)
	for i, d := range due {
		if err != nil {
			errs[i] = unavailable(err)
			continue
		}
		out[i], errs[i] = s.readVerdict(cmds[i], d)
	}
	return out, errs
}

func (s *Store) readVerdict(cmd *redis.Cmd, d bus.Due) (bus.Verdict, error) {
	answer, err := cmd.Slice()
	if err != nil || len(answer) != 2 {
		return bus.Verdict{}, s.misread(err, d.To.String())
	}
	now, _ := answer[0].(string)
	values, _ := answer[1].([]any)
	h := pairs(values, "e", "a", "x", "en", "r", "so", "f")
	if h["e"] == "" {
		return bus.Verdict{Due: d, At: timeOf(now)}, nil
	}
	known := deliveryOf(d.To, d.ID, h)
	return known.Judge(timeOf(now), h["so"] != ""), nil
}

// SettleAll carries out verdicts, and notes when to look again.
func (s *Store) SettleAll(ctx context.Context, list []bus.Verdict) ([]bus.Settlement, []error) {
	out, errs := make([]bus.Settlement, len(list)), make([]error, len(list))
	calls := make([]call, len(list))
	for i, v := range list {
		// As of the moment of the verdict, whose event is written already: nothing else may come of it now.
		at := ""
		if !v.At.IsZero() {
			at = strconv.FormatInt(v.At.UnixMilli(), 10)
		}
		calls[i] = s.settleCall(v.Due, "", at)
	}
	cmds, err := s.runAll(ctx, calls)
	var over []bus.Due
	again := make(map[string][]any)
	for i, v := range list {
		if err != nil {
			errs[i] = unavailable(err)
			continue
		}
		if out[i], errs[i] = s.readSettlement(cmds[i], v.To); errs[i] != nil {
			continue
		}
		// It has ended, so nobody needs to look again.
		if out[i].Next.IsZero() {
			over = append(over, v.Due)
			continue
		}
		member := dueMember(v.To, v.ID)
		key := s.dueKey(member)
		again[key] = append(again[key], out[i].Next.UnixMilli(), member)
	}
	s.undue(ctx, over)
	s.redue(ctx, again)
	return out, errs
}

// Settle judges one message and carries that out.
func (s *Store) Settle(ctx context.Context, d bus.Due) (bus.Settlement, error) {
	out, errs := s.SettleAll(ctx, []bus.Verdict{{Due: d}})
	return out[0], errs[0]
}

func (s *Store) settleCall(d bus.Due, why bus.EndReason, at string) call {
	return call{
		script: inboxSettleScript,
		keys:   []string{s.keys.stream(d.To), s.keys.delivery(d.To, d.ID), s.keys.push(d.To), s.keys.collapse(d.To), s.keys.acked(d.To)},
		args:   []any{d.ID, s.publishVerb(), hint(bus.MessageReceipt, d.ID, ""), bus.ReceiptAge.Milliseconds(), string(why), at},
	}
}

func (s *Store) readSettlement(cmd *redis.Cmd, to bus.Address) (bus.Settlement, error) {
	answer, err := cmd.StringSlice()
	if err != nil || len(answer) != 2 {
		return bus.Settlement{}, s.misread(err, to.String())
	}
	out := bus.Settlement{Next: timeOf(answer[1])}
	switch answer[0] {
	case "stored":
		out.Changed = bus.StateStored
	case "expired":
		out.Changed = bus.StateExpired
	}
	return out, nil
}

// Discard removes a message for a reason.
func (s *Store) Discard(ctx context.Context, to bus.Address, id string, why bus.EndReason) error {
	d := bus.Due{To: to, ID: id}
	c := s.settleCall(d, why, "")
	cmd, err := s.run(ctx, c.script, c.keys, c.args...)
	if err != nil {
		return unavailable(err)
	}
	out, err := s.readSettlement(cmd, to)
	if err != nil {
		return err
	}
	if out.Changed != bus.StateExpired {
		return notFound(to, id)
	}
	member := dueMember(to, id)
	s.redue(ctx, map[string][]any{s.dueKey(member): {0, member}}) // its end is told at the next look
	return nil
}
