package redis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/pipes"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// revoking is one call of the script that revokes.
type revoking struct {
	mode    string // revoke, lost or since
	subject bus.Subject
	before  time.Time // zero for now
	ttl     time.Duration
	seen    bus.Position
}

// Revoke keeps a revocation and announces it.
func (s *Store) Revoke(ctx context.Context, subject bus.Subject, before time.Time, ttl time.Duration) error {
	at, err := s.revoke(ctx, revoking{mode: "revoke", subject: subject, before: before, ttl: ttl})
	if err != nil {
		return err
	}
	// It is in effect by now. What follows finds out whether it survives the loss of a server.
	return s.secure(ctx, subject, at)
}

// RevocationsSeen finds out whether the log has an end that somebody has seen.
func (s *Store) RevocationsSeen(ctx context.Context, at bus.Position) error {
	lost, err := s.revoke(ctx, revoking{
		mode: "lost", subject: bus.Subject{Kind: bus.SubjectLost}, ttl: bus.RevocationLog.Age, seen: at,
	})
	if lost > 0 {
		s.lost(ctx, "their log has lost its end")
	}
	return err
}

// lost tells operators of a loss: what was revoked lately has to be revoked again.
func (s *Store) lost(ctx context.Context, why string) {
	s.log.WarnContext(ctx, "revocations may be lost, and tokens that were issued before now are not believed any more", slog.String("why", why))
}

// revoke runs the script and returns the time that counts now, in ms.
func (s *Store) revoke(ctx context.Context, r revoking) (int64, error) {
	var before int64
	if !r.before.IsZero() {
		before = r.before.UnixMilli()
	}
	head, tail, err := s.announcement(r.subject)
	if err != nil {
		return 0, err
	}
	a := bus.Revoked
	// All keys share a slot, so that the time and its announcement are one step.
	names := []string{
		s.keys.stream(a), s.keys.meta(a), s.keys.push(a), s.keys.revoked(r.subject), s.keys.lostLife(), s.keys.lostEnds(),
	}
	cmd, err := s.run(ctx, revokeScript, names, r.mode, before, r.ttl.Milliseconds(), bus.NewEpoch(), s.publishVerb(), head, tail,
		bus.RevocationLog.Length, r.seen.Epoch, r.seen.Offset)
	if err != nil {
		return 0, unavailable(err)
	}
	at, err := cmd.Int64()
	if err != nil {
		return 0, failure(err)
	}
	return at, nil
}

// announcement returns the envelope of a revocation in two parts. Between them comes the time, which the script knows. The
// lengths in the envelope hold because a time in ms has 13 digits from 2001 to 2286.
func (s *Store) announcement(subject bus.Subject) (head, tail []byte, err error) {
	const digits = "1000000000000"
	data, err := json.Marshal(bus.Revocation{Kind: subject.Kind, ID: subject.ID, Before: time.UnixMilli(firstMoment)})
	if err != nil {
		return nil, nil, bus.ErrInternal.Wrap(err)
	}
	envelope := encode(&bus.Message{ID: uuid.NewString(), To: bus.Revoked, Data: data, ContentType: bus.JSON})
	head, tail, ok := bytes.Cut(envelope, []byte(`"before":`+digits))
	if !ok {
		return nil, nil, bus.ErrInternal
	}
	return append(slices.Clip(head), `"before":`...), tail, nil
}

// secure makes sure that a revocation is as durable as the strictest namespace wants its messages: on replicas, on a disk. A WAIT is
// about the writes of its own connection, so one more write comes before it; what was written earlier is then there too.
func (s *Store) secure(ctx context.Context, subject bus.Subject, at int64) error {
	d := pipes.Demand{Replicas: s.cfg.Replicas, Fsync: s.cfg.Fsync}
	if d == (pipes.Demand{}) {
		return nil
	}
	missing := bus.ErrNotReached.With("the revocation is in effect, but is not known to survive the loss of a server; repeat it", nil)
	to, err := s.pipes.OfKey(ctx, s.keys.revoked(subject))
	if err != nil {
		return missing.Wrap(err)
	}
	how := server.SyncNone
	if d.Fsync {
		if how, err = to.Syncs(ctx, s.log); err != nil {
			return missing.Wrap(err)
		}
	}
	release, err := to.Reserve(ctx)
	if err != nil {
		return missing.Wrap(err)
	}
	defer release()
	has := redis.NewStringCmd(ctx, "get", s.keys.revoked(subject))
	write := expire(ctx, s.keys.stream(bus.Revoked), bus.RevocationLog.Age) // a full server carries it out too
	said := s.pipes.Prove(ctx, pipes.Way{To: to}, []redis.Cmder{has, write}, d, how)
	if kept, err := has.Int64(); err != nil || kept < at || said.Replicas < d.Replicas || d.Fsync && !said.Synced {
		return missing
	}
	return nil
}

// RevokedBefore returns the times of the revocations, in one round trip. It asks the script once since when they are complete.
// The script looks whether the server may have lost some in a restart that no follower of the log has outlived.
func (s *Store) RevokedBefore(ctx context.Context, subjects []bus.Subject) ([]time.Time, error) {
	times := make([]time.Time, len(subjects))
	if len(subjects) == 0 {
		return times, nil
	}
	// Each by itself: MGET reads a key of another type as none, which would let in whoever was revoked.
	cmds := make([]redis.Cmder, len(subjects))
	for i, sub := range subjects {
		cmds[i] = redis.NewStringCmd(ctx, "get", s.keys.revoked(sub))
	}
	if err := s.pipes.Do(ctx, cmds); err != nil {
		return nil, err
	}
	for i, cmd := range cmds {
		at, err := s.revokedAt(ctx, subjects[i], cmd.(*redis.StringCmd)) //nolint:forcetypeassert // made above
		if err != nil {
			return nil, err
		}
		times[i] = at
	}
	return times, nil
}

// firstMoment is the earliest time of a revocation, in ms: the announcement has room for 13 digits.
const firstMoment = 1_000_000_000_000

// revokedAt reads the time of a subject. What cannot be read may have been a revocation, so it is never none.
func (s *Store) revokedAt(ctx context.Context, subject bus.Subject, cmd *redis.StringCmd) (time.Time, error) {
	text, err := cmd.Result()
	missing := errors.Is(err, redis.Nil)
	switch {
	case isForeign(err) && subject.Kind != bus.SubjectLost:
		return bus.RevocationUnreadable, nil
	case err != nil && !missing:
		return time.Time{}, failure(err)
	}
	at := timeOf(text)
	garbled := !missing && (at.UnixMilli() < firstMoment || text[0] == '0')
	if garbled {
		s.garbage.drop(unreadRevocation, "a subject of the kind "+subject.Kind)
	}
	switch {
	case subject.Kind == bus.SubjectLost && (missing || garbled || !s.complete.Load()):
		return s.completeSince(ctx, subject)
	case garbled:
		// Whatever was issued until now is refused, for this subject alone.
		return s.Now(), nil
	case missing:
		return time.Time{}, nil
	}
	return at, nil
}

// completeSince asks the script since when the revocations are complete.
func (s *Store) completeSince(ctx context.Context, lost bus.Subject) (time.Time, error) {
	at, err := s.revoke(ctx, revoking{mode: "since", subject: lost})
	if err != nil {
		return time.Time{}, err
	}
	if was := s.complete.Swap(true); was {
		s.lost(ctx, "the server does not know any more since when it has them all")
	}
	return time.UnixMilli(at), nil
}
