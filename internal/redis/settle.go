package redis

import (
	"context"
	"hash/fnv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// dueSets is over how many sorted sets the times of messages are spread.
const dueSets = 16

func (s *Store) dueKey(a bus.Address) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(a.String())) // a hash never fails
	return s.keys.due(int(h.Sum32() % dueSets))
}

// dueMember is what stands in a sorted set; neither an address nor an id has a line break.
func dueMember(to bus.Address, id string) string { return to.String() + "\n" + id }

// dueLife is how long a sorted set outlives its last change: longer than any message is kept.
const dueLife = 40 * 24 * time.Hour

func (s *Store) dueCmds(ctx context.Context, p *bus.Publication) []redis.Cmder {
	key := s.dueKey(p.Message.To)
	return []redis.Cmder{
		redis.NewIntCmd(ctx, "zadd", key, p.Ack.Deadline.UnixMilli(), dueMember(p.Message.To, p.Message.ID)),
		expire(ctx, key, dueLife),
	}
}

// lent is for how long DueDeliveries lends a message.
const lent = 10 * time.Second

// DueDeliveries lends out messages whose time may have come.
func (s *Store) DueDeliveries(ctx context.Context, limit int) ([]bus.Due, error) {
	now := time.Now()
	calls := make([]call, dueSets)
	for i := range calls {
		calls[i] = call{dueScript, []string{s.keys.due(i)}, []any{now.UnixMilli(), limit, now.Add(lent).UnixMilli()}}
	}
	cmds, err := s.runAll(ctx, calls)
	if err != nil {
		return nil, unavailable(err)
	}
	var due []bus.Due
	for i, cmd := range cmds {
		members, err := cmd.StringSlice()
		if err != nil {
			return due, unavailable(err)
		}
		for _, m := range members {
			name, id, _ := strings.Cut(m, "\n")
			to, err := bus.ParseAddress(name)
			if err != nil {
				_ = s.do(ctx, redis.NewIntCmd(ctx, "zrem", s.keys.due(i), m)) // not ours; it would come back for ever
				continue
			}
			due = append(due, bus.Due{To: to, ID: id})
		}
	}
	return due, nil
}

// Settle looks at one message, and notes when to look again.
func (s *Store) Settle(ctx context.Context, d bus.Due) (bus.Settlement, error) {
	what, next, err := s.settle(ctx, d.To, d.ID, "")
	if err != nil {
		return bus.Settlement{}, err
	}
	var out bus.Settlement
	switch what {
	case "stored":
		out.Changed = bus.StateStored
	case "expired":
		out.Changed = bus.StateExpired
	}
	key, member := s.dueKey(d.To), dueMember(d.To, d.ID)
	if next.IsZero() {
		return out, s.do(ctx, redis.NewIntCmd(ctx, "zrem", key, member))
	}
	out.Next = next
	_, err = s.run(ctx, dueAgainScript, []string{key}, member, next.UnixMilli())
	return out, unavailable(err)
}

func (s *Store) settle(ctx context.Context, to bus.Address, id string, why bus.EndReason) (string, time.Time, error) {
	cmd, err := s.run(ctx, inboxSettleScript, []string{s.keys.stream(to), s.keys.delivery(to, id), s.keys.push(to), s.keys.collapse(to)},
		id, time.Now().UnixMilli(), s.publishVerb(), hint(bus.MessageReceipt, id, ""), bus.ReceiptAge.Milliseconds(), string(why))
	if err != nil {
		return "", time.Time{}, unavailable(err)
	}
	answer, err := cmd.Slice()
	if err != nil || len(answer) != 2 {
		return "", time.Time{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	what, _ := answer[0].(string)
	text, _ := answer[1].(string)
	return what, timeOf(text), nil
}

// Discard removes a message for a reason.
func (s *Store) Discard(ctx context.Context, to bus.Address, id string, why bus.EndReason) error {
	what, _, err := s.settle(ctx, to, id, why)
	if err != nil {
		return err
	}
	if what != "expired" {
		return notFound(to, id)
	}
	return nil
}
