package redis

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// publishVerb is how a push is sent: within its shard in a Cluster. It is an argument of a command: a constant that
// becomes one here costs nothing.
func (s *Store) publishVerb() any {
	if s.cluster != nil {
		return "SPUBLISH"
	}
	return "PUBLISH"
}

// Publish carries out one publication.
func (s *Store) Publish(ctx context.Context, in bus.Admitted) (bus.Receipt, error) {
	p := in.Publication()
	if p.Message.To.IsZero() {
		return bus.Receipt{}, bus.ErrInternal // no door has let it in
	}
	return s.publish(ctx, p)
}

// PublishAll carries out publications in one pipeline.
func (s *Store) PublishAll(ctx context.Context, in []bus.Admitted) ([]bus.Receipt, []error) {
	ps, errs := bus.Publications(in), make([]error, len(in))
	for _, p := range ps {
		if p.Message.To.IsZero() { // no door has let it in
			// An item that came past the door is a fault of the program, so nothing of the batch is sent.
			for i := range errs {
				errs[i] = bus.ErrInternal
			}
			return make([]bus.Receipt, len(in)), errs
		}
	}
	return s.publishAll(ctx, ps)
}

// publish is Publish, also for what the store itself tells.
func (s *Store) publish(ctx context.Context, p bus.Publication) (bus.Receipt, error) {
	if !s.simple(&p) {
		receipts, errs := s.publishAll(ctx, []bus.Publication{p})
		return receipts[0], errs[0]
	}
	s.stamp(&p, s.Now())
	// No script: a live message without options leaves nothing behind that has to agree with it.
	cmd := s.pushCmd(ctx, &p)
	err := s.pipes.DoOne(ctx, cmd)
	if err == nil {
		err = failure(cmd.Err())
	}
	return pushed(&p), err
}

// stamp gives a publication its time. A script gives it that of the server it runs on instead.
func (s *Store) stamp(p *bus.Publication, now time.Time) {
	m := &p.Message
	// To the millisecond, which is what envelopes and the ids of entries hold.
	m.Published, m.Expires = now.Truncate(time.Millisecond), time.Time{}
	if p.TTL > 0 {
		m.Expires = m.Published.Add(p.TTL)
	}
}

// pushCmd returns the command of a simple publication.
func (s *Store) pushCmd(ctx context.Context, p *bus.Publication) redis.Cmder {
	return redis.NewIntCmd(ctx, s.publishVerb(), s.keys.push(p.Message.To), appendEnvelope([]byte{'\n'}, &p.Message))
}

// pushed is the receipt of a simple publication.
func pushed(p *bus.Publication) bus.Receipt {
	return bus.Receipt{ID: p.Message.ID, Durability: bus.Live, Published: p.Message.Published}
}

// simple says whether a publication is no more than a push.
func (s *Store) simple(p *bus.Publication) bool {
	if p.Retention.Durable() || p.IdempotencyKey != "" || p.RequireChannel || p.Ack != nil || p.Retain > 0 {
		return false
	}
	return s.alias(p.Message.To) == nil
}

// publishing is some publications on their way.
type publishing struct {
	receipts []bus.Receipt
	errs     []error
	calls    []call
	cmds     []redis.Cmder
	due      []call // notes when messages have to be looked at
}

// publishAll is PublishAll, also for what the store itself tells.
func (s *Store) publishAll(ctx context.Context, ps []bus.Publication) ([]bus.Receipt, []error) {
	b := s.prepare(ctx, ps)
	// Strict items set the pace of the whole batch: its order holds on one connection alone.
	if strict := strictest(ps); strict != nil {
		return b.receipts, s.publishStrictly(ctx, ps, b.calls, b.receipts, strict)
	}
	if err := s.send(ctx, &b); err != nil {
		for i := range b.errs {
			b.errs[i] = err
		}
		return b.receipts, b.errs
	}
	for i, cmd := range b.cmds {
		if script, ok := cmd.(*redis.Cmd); ok {
			b.errs[i] = s.readReceipt(script, &ps[i], &b.receipts[i]) //nolint:gosec // a command for each publication
		} else {
			b.errs[i] = failure(cmd.Err())
		}
	}
	return b.receipts, b.errs
}

// prepare makes the commands of publications.
func (s *Store) prepare(ctx context.Context, ps []bus.Publication) publishing {
	b := publishing{
		receipts: make([]bus.Receipt, len(ps)), errs: make([]error, len(ps)), calls: make([]call, len(ps)), cmds: make([]redis.Cmder, len(ps)),
	}
	scripted := false
	now := s.Now()
	for i := range ps {
		p := &ps[i]
		s.stamp(p, now)
		b.receipts[i] = pushed(p)
		// What comes after a script goes by the script too. A server that does not know it yet refuses both, and both are sent
		// again in their order.
		if !scripted && s.simple(p) {
			b.cmds[i] = s.pushCmd(ctx, p)
			continue
		}
		scripted = true
		if p.Ack != nil {
			b.calls[i] = s.inboxCall(p)
			b.due = append(b.due, s.dueCall(p))
		} else {
			b.calls[i] = s.publishCall(p)
		}
		b.cmds[i] = s.publishCmd(ctx, b.calls, i)
	}
	return b
}

// send carries out publications. The times to look at messages go before the publishes: without these they are harmless.
func (s *Store) send(ctx context.Context, b *publishing) error {
	// Most publications have no such time, and their commands go as they are: a list is made only to put something before them.
	noted, all := []redis.Cmder(nil), b.cmds
	if len(b.due) > 0 {
		noted = make([]redis.Cmder, len(b.due), len(b.due)+len(b.cmds))
		for i := range b.due {
			noted[i] = s.command(ctx, &b.due[i], "evalsha", b.due[i].script.Hash())
		}
		all = append(noted, b.cmds...) //nolint:gocritic // noted has room for both
	}
	if err := s.pipes.Do(ctx, all); err != nil {
		return err
	}
	s.checkDue(ctx, b.due, noted)
	if err := s.sendTexts(ctx, b.calls, b.cmds); err != nil {
		return err
	}
	scripts := make([]*redis.Cmd, len(b.cmds))
	for i, cmd := range b.cmds {
		scripts[i], _ = cmd.(*redis.Cmd)
	}
	err := s.proveLives(ctx, b.calls, scripts)
	for i, script := range scripts { // what was sent again has another answer
		if script != nil {
			b.cmds[i] = script
		}
	}
	return err
}

// publishCmd returns the command of a call. The first of several calls of its script goes with the text, which the ones behind it
// then find. Otherwise a server may learn the script from somebody else in the middle of the batch. It would then carry out the
// end of the batch before its beginning. In a Cluster that holds for each address.
func (s *Store) publishCmd(ctx context.Context, calls []call, i int) *redis.Cmd {
	c := &calls[i]
	if len(calls) > 1 && s.firstOfItsScript(calls[:i], c) {
		return s.command(ctx, c, "eval", texts[c.script.Hash()])
	}
	return s.command(ctx, c, "evalsha", c.script.Hash())
}

func (s *Store) firstOfItsScript(before []call, c *call) bool {
	for j := range slices.Backward(before) { // the one right before it, mostly
		if before[j].script == c.script && (s.cluster == nil || before[j].keys[0] == c.keys[0]) {
			return false
		}
	}
	return true
}

// sendTexts repeats, with the script's text, the calls that a server did not know. These are all of the caller's from the first
// script on, in their order.
func (s *Store) sendTexts(ctx context.Context, calls []call, cmds []redis.Cmder) error {
	var again []redis.Cmder
	for i, cmd := range cmds {
		if !redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
			continue
		}
		text, err := sourceOf(calls[i].script)
		if err != nil {
			return err
		}
		cmds[i] = s.command(ctx, &calls[i], "eval", text)
		again = append(again, cmds[i])
	}
	if len(again) == 0 {
		return nil
	}
	return s.pipes.Do(ctx, again)
}

// publishCall is the call of the publish script.
func (s *Store) publishCall(p *bus.Publication) call {
	to := p.Message.To
	length, age := 0, int64(0)
	if p.Retention.Durable() {
		length, age = p.Retention.Length, p.Retention.Age.Milliseconds()
	}
	require, digest := "", ""
	if p.RequireChannel {
		require = "1"
	}
	if p.IdempotencyKey != "" {
		digest = p.Digest
	}
	last, channel, copied, kept := s.keys.last(to), "", []byte(nil), ""
	if alias := s.alias(to); alias != nil {
		if data, told := alias.Copy(&p.Message); told {
			channel, copied = alias.Channel(), data
			if alias.Keeps() {
				last, kept = channel, "1"
			}
		}
	}
	// The other one has the same text, registered as one that writes nothing: a full server runs it.
	script := publishScript
	if length == 0 && digest == "" && p.Retain <= 0 {
		script = pushScript
	}
	return call{
		script: script,
		keys: []string{
			s.keys.stream(to), s.keys.meta(to), s.keys.push(to), s.keys.channel(to), s.keys.idempotency(p), last, s.keys.era(to),
		},
		args: []any{
			encode(&p.Message), length, age, bus.NewEpoch(), require, digest,
			max(p.Window.Milliseconds(), 1), s.publishVerb(), max(s.cfg.MetaTTL.Milliseconds(), age),
			p.Retain.Milliseconds(), channel, copied, kept, p.Message.ID, demandOf(p),
		},
	}
}

// readReceipt reads what the publish script answered.
func (s *Store) readReceipt(cmd *redis.Cmd, p *bus.Publication, r *bus.Receipt) error {
	answer, err := cmd.StringSlice()
	if err != nil {
		return failure(err)
	}
	if len(answer) == 0 {
		return s.misread(nil, p.Message.To.String())
	}
	switch answer[0] {
	case "prove":
		return bus.ErrStoreUnavailable.Wrap(errUnproved)
	case "missing":
		return bus.ErrChannelNotFound.With("", map[string]string{"address": p.Message.To.String()})
	case "full":
		return bus.ErrInboxFull.With("", map[string]string{"address": p.Message.To.String(), "limit": strconv.Itoa(p.Ack.Limit)})
	case "mismatch":
		return bus.ErrIdempotencyMismatch.With("", map[string]string{"idempotencyKey": p.IdempotencyKey})
	case "revision":
		if at(answer, 2) == "1" { // of a change that nobody may come to show
			s.heldUp.add(p.Message.To)
		}
		return bus.ErrRevisionMismatch.With("", map[string]string{"address": p.Message.To.String(), "revision": at(answer, 1)})
	case "state": // the first answer, and where its message is
		r.Duplicate = true
		return s.readPosition(p.Message.To, at(answer, 4), at(answer, 5), r)
	// The first answer counts, whatever this request would have been given.
	case "again":
		r.Duplicate = true
		if id := at(answer, 4); id != "" && plainText(id) {
			r.ID = id
		}
	}
	if published := timeOf(at(answer, 3)); !published.IsZero() {
		r.Published = published
	}
	if answer[0] == "ok" && at(answer, 4) == "1" {
		s.heldUp.add(p.Message.To)
	}
	err = s.readPosition(p.Message.To, at(answer, 1), at(answer, 2), r)
	if err == nil && r.Position.Offset > 0 && demandOf(p) == "" { // otherwise it is confirmed when it is shown
		s.confirmed.note(p.Message.To, r.Position)
	}
	return err
}

// readPosition notes where a publication went; nowhere for a live one.
func (s *Store) readPosition(to bus.Address, epoch, offset string, r *bus.Receipt) error {
	if epoch == "" {
		return nil
	}
	n, err := strconv.ParseUint(offset, 10, 64)
	if err != nil {
		return s.misread(err, to.String())
	}
	r.Position = bus.Position{Epoch: s.epoch(epoch), Offset: n}
	r.Durability = bus.Accepted
	return nil
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

// PublishRecord sends a raw record to a bridged channel.
func (s *Store) PublishRecord(ctx context.Context, channel string, in bus.AdmittedRecord) error {
	for _, b := range s.cfg.Bridges {
		if b.Channel == channel {
			cmd := redis.NewIntCmd(ctx, "publish", channel, in.Record())
			if err := s.pipes.Do(ctx, []redis.Cmder{cmd}); err != nil {
				return err
			}
			return failure(cmd.Err())
		}
	}
	return bus.ErrMethodDisabled.With("the Redis channel "+strconv.Quote(channel)+" is not bridged", map[string]string{"setting": "legacy"})
}
