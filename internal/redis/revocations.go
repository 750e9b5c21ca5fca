package redis

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// Revoke keeps a revocation and announces it.
func (s *Store) Revoke(ctx context.Context, subject bus.Subject, before time.Time, ttl time.Duration) error {
	cmd, err := s.run(ctx, revokeScript, []string{s.keys.revoked(subject)}, before.UnixMilli(), ttl.Milliseconds())
	if err != nil {
		return unavailable(err)
	}
	ms, err := cmd.Int64()
	if err != nil {
		return failure(err)
	}
	data, err := json.Marshal(bus.Revocation{Kind: subject.Kind, ID: subject.ID, Before: time.UnixMilli(ms)})
	if err != nil {
		return bus.ErrInternal.Wrap(err)
	}
	_, err = s.publish(ctx, bus.Publication{Message: bus.Message{
		ID: uuid.NewString(), To: bus.Revoked, Data: data, ContentType: bus.JSON,
	}})
	return err
}

// RevokedBefore returns the times of the revocations, in one round trip.
func (s *Store) RevokedBefore(ctx context.Context, subjects []bus.Subject) ([]time.Time, error) {
	times := make([]time.Time, len(subjects))
	if len(subjects) == 0 {
		return times, nil
	}
	args := make([]any, 0, len(subjects)+1)
	args = append(args, "mget")
	for _, sub := range subjects {
		args = append(args, s.keys.revoked(sub))
	}
	cmd := redis.NewSliceCmd(ctx, args...)
	if err := s.do(ctx, cmd); err != nil {
		return nil, err
	}
	for i, v := range cmd.Val() {
		text, ok := v.(string)
		if !ok {
			continue
		}
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, bus.ErrStoreUnavailable.Wrap(err)
		}
		times[i] = time.UnixMilli(ms)
	}
	return times, nil
}
