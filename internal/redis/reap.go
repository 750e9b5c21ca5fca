package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

const (
	// reapAddresses is how many addresses one Reap looks at for each reason.
	reapAddresses = 64
	// reapMembers is how many members of one address one script removes.
	reapMembers = 200
	// reapNodes is how many dead nodes one Reap looks at.
	reapNodes = 8
	// reapLease is for how long an entry is left to the one who took it.
	reapLease = 5 * time.Second
)

// removal is what one call of the remove script removes.
type removal struct {
	to    bus.Address
	mode  string // one, lost or node
	what  string // the connection or the node
	heard int64  // when the node was last heard of, in ms
}

// nothing is the answer when there is nothing to remove, now or later.
func (r removal) nothing() int64 {
	if r.mode == "lost" {
		return -1
	}
	return 0
}

// remove carries out removals and returns what the script answered to each, and the events to tell.
func (s *Store) remove(ctx context.Context, list []removal) ([]int64, []untold, error) {
	if len(list) == 0 {
		return nil, nil, nil
	}
	envelope := s.presenceEnvelope()
	calls := make([]call, len(list))
	for i, r := range list {
		calls[i] = call{
			rosterRemoveScript, append(s.rosterKeys(r.to), s.keys.push(r.to), s.keys.rosterUntold(r.to)),
			[]any{
				r.mode, r.what, r.heard, reapMembers, s.publishVerb(), uuid.NewString() + "-", envelope, s.keys.rosterNode(r.to, ""),
				s.eventID(r.to), rosterTTL.Milliseconds(),
			},
		}
	}
	// A node that lives after all has to hear of it, whether it looks before, in between or after.
	if err := s.noteTaken(ctx, list); err != nil {
		return nil, nil, err
	}
	cmds, err := s.runAll(ctx, calls)
	if err == nil {
		err = s.noteTaken(ctx, list)
	}
	if err != nil {
		return nil, nil, err
	}
	answers := make([]int64, len(cmds))
	var events []untold
	for i, cmd := range cmds {
		answer, err := cmd.Slice()
		if err == nil && len(answer) == 0 {
			err = errAnswer
		}
		switch {
		// What cannot be reaped there is left, so that the others' members do not wait for it.
		case isForeign(err) || errors.Is(err, errAnswer):
			answers[i] = list[i].nothing() //nolint:gosec // an answer for each removal
			continue
		case err != nil:
			return nil, nil, failure(err)
		}
		answers[i], _ = answer[0].(int64)
		if texts := textsOf(answer[1:]); len(texts) > 0 {
			events = append(events, untold{list[i].to, texts}) //nolint:gosec // an answer for each removal
		}
	}
	return answers, events, nil
}

// noteTaken counts that nodes are taken for dead.
func (s *Store) noteTaken(ctx context.Context, list []removal) error {
	var cmds []redis.Cmder
	noted := make(map[string]bool)
	for _, r := range list {
		// A node counts once here, however many of its addresses are in the list.
		if r.mode == "node" && !noted[r.what] {
			noted[r.what] = true
			name := s.keys.nodeTaken(r.what)
			cmds = append(cmds, redis.NewIntCmd(ctx, "hincrby", name, "n", 1), expire(ctx, name, indexTTL))
		}
	}
	if len(cmds) == 0 {
		return nil
	}
	return s.do(ctx, cmds...)
}

func textsOf(list []any) []string {
	texts := make([]string, 0, len(list))
	for _, item := range list {
		if text, ok := item.(string); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

// Reap removes members whose grace is over, and those of dead nodes. When nothing is due it is one round trip.
func (s *Store) Reap(ctx context.Context, silent time.Duration) (bool, error) {
	now := s.Now()
	// In one round trip, because every node does this often and mostly for nothing.
	calls := []call{
		{dueScript, []string{s.keys.rosterDue()}, []any{now.UnixMilli(), reapAddresses, now.Add(reapLease).UnixMilli()}},
		{silentNodesScript, []string{s.keys.heard(), s.keys.truce()}, []any{silent.Milliseconds(), reapNodes}},
	}
	if s.cfg.Events.Durable() {
		calls = append(calls, s.deadRunsCall(silent))
	}
	cmds, err := s.runAll(ctx, calls)
	if err != nil {
		return false, err
	}
	due, err := cmds[0].StringSlice()
	if err != nil {
		return false, failure(err)
	}
	dead, err := heardOf(cmds[1])
	if err != nil {
		return false, err
	}
	more, err := s.reapLost(ctx, due)
	if err != nil {
		return false, err
	}
	for name, heard := range dead {
		rest, err := s.reapNode(ctx, name, heard)
		if err != nil {
			return false, err
		}
		more = more || rest
	}
	// A full page means that there may be others.
	more = more || len(dead) == reapNodes
	if len(cmds) > 2 {
		rest, err := s.reapRuns(ctx, cmds[2], silent)
		return more || rest, err
	}
	return more, nil
}

// reapLost looks at addresses where the grace of somebody ends. An entry is removed after that, and one for the next
// end is written before.
func (s *Store) reapLost(ctx context.Context, entries []string) (bool, error) {
	seen := make(map[bus.Address]bool)
	var list []removal
	for _, entry := range entries {
		name, _, _ := strings.Cut(entry, " ")
		if a, err := bus.StoredAddress(name); err == nil && !seen[a] {
			seen[a] = true
			list = append(list, removal{to: a, mode: "lost"})
		}
	}
	if len(entries) == 0 {
		return false, nil
	}
	answers, events, err := s.remove(ctx, list)
	if err == nil {
		err = s.tell(ctx, events)
	}
	if err != nil {
		return false, err
	}
	more := len(entries) == reapAddresses
	var cmds []redis.Cmder
	for i, next := range answers {
		if next >= 0 {
			cmds = append(cmds, s.noteLook(ctx, list[i].to, s.Now().Add(time.Duration(next)*time.Millisecond)))
		}
		more = more || next == 0
	}
	// Removed last: a process that dies in between leaves a look too many, never one too few.
	done := []any{"zrem", s.keys.rosterDue()}
	for _, entry := range entries {
		done = append(done, entry)
	}
	return more, s.do(ctx, append(cmds, redis.NewIntCmd(ctx, done...))...)
}

// reapNode removes members of a dead node, and in the end the node.
func (s *Store) reapNode(ctx context.Context, name string, heard int64) (bool, error) {
	index := s.keys.nodeIndex(name)
	names := redis.NewStringSliceCmd(ctx, "zrange", index, 0, reapAddresses-1)
	if err := s.do(ctx, names); err != nil {
		return false, err
	}
	// Only a node without members is forgotten, or the last of them would never be found.
	if len(names.Val()) == 0 {
		_, err := s.run(ctx, forgetNodeScript, []string{s.keys.nodes(), s.keys.heard()}, name, heard)
		return false, unavailable(err)
	}
	var list []removal
	done := []any{"zrem", index}
	for _, text := range names.Val() {
		if a, err := bus.StoredAddress(text); err == nil {
			list = append(list, removal{to: a, mode: "node", what: name, heard: heard})
		} else {
			// It names no address, so it would be found again for ever.
			done = append(done, text)
		}
	}
	answers, events, err := s.remove(ctx, list)
	if err == nil {
		err = s.tell(ctx, events)
	}
	if err != nil {
		return false, err
	}
	for i, rest := range answers {
		// An address stays in the index while members of the node are left in it, for the next call.
		if rest == 0 {
			done = append(done, list[i].to.String())
		}
	}
	// Redis refuses a command that names no member.
	if len(done) == 2 {
		return true, nil
	}
	return true, s.do(ctx, redis.NewIntCmd(ctx, done...))
}

// silent returns which of the nodes were not heard of for so long, and when they were, in ms; 0 for never.
func (s *Store) silent(ctx context.Context, ttl time.Duration, limit int, names ...any) (map[string]int64, error) {
	args := append([]any{ttl.Milliseconds(), limit}, names...)
	cmd, err := s.run(ctx, silentNodesScript, []string{s.keys.heard(), s.keys.truce()}, args...)
	if err != nil {
		return nil, unavailable(err)
	}
	return heardOf(cmd)
}

func heardOf(cmd *redis.Cmd) (map[string]int64, error) {
	texts, err := cmd.StringSlice()
	if err != nil {
		return nil, failure(err)
	}
	heard := make(map[string]int64, len(texts)/2)
	for i := 0; i+1 < len(texts); i += 2 {
		// A score is a float in every answer of Redis.
		ms, err := strconv.ParseFloat(texts[i+1], 64)
		if err != nil {
			return nil, bus.ErrStoreUnavailable.Wrap(err)
		}
		heard[texts[i]] = int64(ms)
	}
	return heard, nil
}
