package redis

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// inboxCall publishes into an inbox.
func (s *Store) inboxCall(p *bus.Publication) call {
	to, ack := p.Message.To, p.Ack
	digest := ""
	if p.IdempotencyKey != "" {
		digest = p.Digest
	}
	// Without a limit of deliveries nothing ever goes there.
	dead := ""
	if ack.MaxDeliveries > 0 {
		dead = ack.DeadLetter.String()
	}
	return call{
		script: inboxPublishScript,
		keys: []string{
			s.keys.stream(to), s.keys.meta(to), s.keys.push(to), s.keys.idempotency(p),
			s.keys.delivery(to, p.Message.ID), s.keys.collapse(to), s.keys.acked(to),
		},
		args: []any{
			encode(&p.Message), p.Message.ID, ack.Limit, bus.NewEpoch(), digest, max(p.Window.Milliseconds(), 1), s.publishVerb(),
			s.cfg.MetaTTL.Milliseconds(), int(ack.Scope), ack.Timeout.Milliseconds(), ack.Keep.Milliseconds(),
			ack.CollapseKey, ack.MaxDeliveries, dead, s.keys.delivery(to, ""), bus.ReceiptAge.Milliseconds(), demandOf(p), ack.Author,
		},
	}
}

// Pending returns a page of an inbox.
func (s *Store) Pending(ctx context.Context, to bus.Address, q bus.PendingQuery) (bus.PendingPage, error) {
	page, _, err := s.pending(ctx, to, bus.Position{Epoch: q.Epoch, Offset: q.After}, q, "")
	return page, err
}

// readInbox is Since of an address whose log is its inbox.
func (s *Store) readInbox(ctx context.Context, to bus.Address, after bus.Position, limit int) (bus.Page, error) {
	p, gap, err := s.pending(ctx, to, after, bus.PendingQuery{After: after.Offset, Limit: limit}, "1")
	if err != nil {
		return bus.Page{}, err
	}
	// Nothing was ever sent there. The beginning is a position all the same, to come back to.
	if p.Top.IsZero() {
		if p.Top, err = s.begins(ctx, to); err != nil {
			return bus.Page{}, err
		}
	}
	page := bus.Page{Top: p.Top, More: p.More, Next: bus.Position{Epoch: p.Top.Epoch, Offset: p.Next}, Unproved: p.Unproved, Forked: p.Unproved}
	for _, w := range p.Messages {
		page.Messages = append(page.Messages, w.Message)
	}
	if gap {
		return page, bus.ErrGap.With("", map[string]string{"address": to.String()})
	}
	return page, nil
}

// pending reads a page; all is "1" for what any device is given, without asking about one. After a start it says whether the
// beginning is still the same.
func (s *Store) pending(ctx context.Context, to bus.Address, after bus.Position, q bus.PendingQuery, all string) (bus.PendingPage, bool, error) {
	// Only a start that a client was given is compared with the beginning that there is now.
	if !after.IsStart() || after.Epoch == "" {
		return s.pendingAfter(ctx, to, after, q, all)
	}
	page, _, err := s.pendingAfter(ctx, to, bus.Position{}, q, all)
	if err != nil {
		return page, false, err
	}
	// Asked after the read: an inbox that is lost in between shows a gap too many, never one too few.
	start, err := s.begins(ctx, to)
	return page, start != after, err
}

func (s *Store) pendingAfter(ctx context.Context, to bus.Address, after bus.Position, q bus.PendingQuery, all string) (bus.PendingPage, bool, error) {
	cmd, err := s.run(ctx, inboxReadScript, []string{s.keys.stream(to), s.keys.meta(to)},
		after.Epoch, strconv.FormatUint(after.Offset, 10), q.Limit, q.Device, s.keys.delivery(to, ""), bus.MaxDevices,
		strconv.FormatUint(q.Until, 10), all)
	if err != nil {
		return bus.PendingPage{}, false, unavailable(err)
	}
	answer, err := cmd.Slice()
	if err != nil || len(answer) != 6 {
		return bus.PendingPage{}, false, s.misread(err, to.String())
	}
	gap, _ := answer[0].(int64)
	epoch, _ := answer[1].(string)
	more, _ := answer[4].(int64)
	entries, _ := answer[5].([]any)
	page := bus.PendingPage{More: more == 1, Next: uintOf(answer[3]), Unproved: gap == 2}
	if epoch != "" {
		page.Top = bus.Position{Epoch: s.epoch(epoch), Offset: uintOf(answer[2])}
	}
	for _, e := range entries {
		parts, _ := e.([]any)
		if len(parts) != 5 {
			continue
		}
		entry, _ := parts[0].(string)
		envelope, _ := parts[1].(string)
		born, _ := parts[4].(string) // a client that saw it before a fork knows it by this position
		fields, _ := parts[2].([]any)
		m, err := decodeEntry(to, s.epoch(born), entry, envelope)
		if len(fields) == 0 {
			err = errEnvelope // nothing is known of what has no id
		}
		if m = s.taken(m, err, unreadInbox, to); m == nil {
			continue
		}
		dead, _ := parts[3].(int64)
		d := deliveryOf(to, m.ID, pairs(fields, "s", "e", "a", "x", "d", "n", "k", "mx", "dl", "dn", "dw", "en"))
		page.Messages = append(page.Messages, bus.Waiting{Message: m, Deliveries: d.Deliveries, Dead: q.Deliver && dead == 1, Delivery: d})
	}
	return page, gap > 0, nil
}

// pairs names the values of an HMGET.
func pairs(values []any, names ...string) map[string]string {
	// What is missing stays empty, which reads as zero.
	m := make(map[string]string, len(names))
	for i, v := range values {
		if text, ok := v.(string); ok && i < len(names) {
			m[names[i]] = text
		}
	}
	return m
}

func uintOf(v any) uint64 {
	text, _ := v.(string)
	n, _ := strconv.ParseUint(text, 10, 64)
	return n
}

// deliveryOf reads a delivery hash.
func deliveryOf(to bus.Address, id string, h map[string]string) bus.Delivery {
	num := func(name string) int { n, _ := strconv.Atoi(h[name]); return n }
	_, published, _ := strings.Cut(h["e"], "-")
	d := bus.Delivery{
		To: to, ID: id, Scope: bus.AckScope(num("s")), // 1 or 2
		Published: timeOf(published), Deadline: timeOf(h["a"]), Expires: timeOf(h["x"]), Ended: timeOf(h["en"]),
		Reason: bus.EndReason(h["r"]), Deliveries: num("d"), SentCount: num("n"), AckedCount: num("k"), MaxDeliveries: num("mx"),
		DeniedCount: num("dn"), DeniedWhy: h["dw"],
	}
	if a, err := bus.ParseAddress(h["dl"]); err == nil {
		d.DeadLetter = a
	}
	if plainText(h["f"]) {
		d.Author = h["f"]
	}
	return d
}

// hint is the envelope of a message that is Trunkline's own.
func hint(kind bus.MessageKind, id, exclude string) []byte {
	return encode(&bus.Message{ID: id, Kind: kind, ContentType: bus.JSON, ExcludeConnection: exclude})
}

// inboxOf groups acks by address, keeping their places.
func inboxOf(acks []bus.Ack) map[bus.Address][]int {
	by := make(map[bus.Address][]int)
	for i, a := range acks {
		by[a.To] = append(by[a.To], i)
	}
	return by
}

// Ack acknowledges messages: one script for each inbox and device, all in one pipeline. What has ended then leaves the times to
// look at messages, in another pipeline, because these are of other slots. To lose that costs one look.
func (s *Store) Ack(ctx context.Context, acks []bus.Ack) []error {
	errs := make([]error, len(acks))
	var calls []call
	var places [][]int
	for to, all := range inboxOf(acks) {
		for _, list := range byDevice(acks, all) {
			calls = append(calls, s.ackCall(to, acks, list))
			places = append(places, list)
		}
	}
	cmds, err := s.runAll(ctx, calls)
	var over []bus.Due
	for j, list := range places {
		var known []int64
		failed := err
		if failed == nil {
			known, failed = cmds[j].Int64Slice()
		}
		for k, i := range list {
			switch {
			case failed != nil:
				errs[i] = unavailable(failed)
			case k >= len(known) || known[k] == 0:
				errs[i] = notFound(acks[i].To, acks[i].ID)
			case known[k] == 2:
				over = append(over, bus.Due{To: acks[i].To, ID: acks[i].ID})
			}
		}
	}
	s.undue(ctx, over)
	return errs
}

// ackCall acknowledges messages of one inbox for one device.
func (s *Store) ackCall(to bus.Address, acks []bus.Ack, list []int) call {
	c := call{
		script: inboxAckScript,
		keys:   []string{s.keys.stream(to), s.keys.push(to), s.keys.collapse(to), s.keys.acked(to)},
		args:   []any{acks[list[0]].Device, s.publishVerb(), s.keys.delivery(to, ""), bus.ReceiptAge.Milliseconds(), bus.MaxDevices},
	}
	for _, i := range list {
		c.args = append(c.args, acks[i].ID, hint(bus.MessageDismissal, acks[i].ID, acks[i].Connection), hint(bus.MessageReceipt, acks[i].ID, ""))
	}
	return c
}

// ackChunk is how many messages one script acknowledges.
const ackChunk = 100

func byDevice(acks []bus.Ack, list []int) [][]int {
	at := make(map[string]int)
	var groups [][]int
	for _, i := range list {
		g, ok := at[acks[i].Device]
		// The work of one script is bounded, so a long list is several.
		if !ok || len(groups[g]) >= ackChunk {
			g = len(groups)
			groups = append(groups, nil)
			at[acks[i].Device] = g
		}
		groups[g] = append(groups[g], i)
	}
	return groups
}

func notFound(to bus.Address, id string) error {
	return bus.ErrMessageNotFound.With("", map[string]string{"address": to.String(), "id": id})
}

// MarkSent notes that messages were written to a device.
func (s *Store) MarkSent(ctx context.Context, sent []bus.Ack) error {
	var calls []call
	for to, list := range inboxOf(sent) {
		for part := range slices.Chunk(list, ackChunk) {
			c := call{
				script: inboxSentScript,
				keys:   []string{s.keys.push(to)},
				args:   []any{s.publishVerb(), s.keys.delivery(to, ""), bus.MaxDevices},
			}
			for _, i := range part {
				again := ""
				if sent[i].Again {
					again = "1"
				}
				c.args = append(c.args, sent[i].ID, sent[i].Device, again, hint(bus.MessageReceipt, sent[i].ID, ""))
			}
			calls = append(calls, c)
		}
	}
	return s.note(ctx, calls)
}

// note carries out scripts that answer nothing of use.
func (s *Store) note(ctx context.Context, calls []call) error {
	cmds, err := s.runAll(ctx, calls)
	if err != nil {
		return unavailable(err)
	}
	for _, cmd := range cmds {
		if cmd.Err() != nil {
			return unavailable(cmd.Err())
		}
	}
	return nil
}

// Delivery returns what is known of a message.
func (s *Store) Delivery(ctx context.Context, to bus.Address, id string, watch bool) (bus.Delivery, error) {
	key := s.keys.delivery(to, id)
	all := redis.NewMapStringStringCmd(ctx, "hgetall", key)
	if err := s.do(ctx, all); err != nil {
		return bus.Delivery{}, err
	}
	h := all.Val()
	if h["e"] == "" {
		return bus.Delivery{}, notFound(to, id)
	}
	d := deliveryOf(to, id, h)
	for name, value := range h {
		if client, ok := strings.CutPrefix(name, "c:"); ok {
			d.Devices = append(d.Devices, deviceOf(client, value))
		}
	}
	d.Sort()
	if watch && h["w"] == "" && !d.State(s.Now()).Final() {
		// Only a hash that is there is marked: one that has just ended must not come back without a bound.
		if _, err := s.run(ctx, watchScript, []string{key}); err != nil {
			return d, unavailable(err)
		}
		return s.Delivery(ctx, to, id, false) // it may have changed before it was marked
	}
	return d, nil
}

// InboxStats says how full an inbox is.
func (s *Store) InboxStats(ctx context.Context, to bus.Address) (bus.InboxStats, error) {
	n := redis.NewIntCmd(ctx, "xlen", s.keys.stream(to))
	acked := redis.NewIntCmd(ctx, "zcard", s.keys.acked(to))
	first := redis.NewXMessageSliceCmd(ctx, "xrange", s.keys.stream(to), "-", "+", "count", 1)
	if err := s.do(ctx, n, acked, first); err != nil {
		return bus.InboxStats{}, err
	}
	// Entries that everybody has acknowledged stay until their end, and do not count.
	stats := bus.InboxStats{Count: max(int(n.Val()-acked.Val()), 0)}
	if len(first.Val()) > 0 {
		_, ms, _ := strings.Cut(first.Val()[0].ID, "-")
		stats.Oldest = timeOf(ms)
	}
	return stats, nil
}
