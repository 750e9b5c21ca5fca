package redis

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// do carries out plain commands in the pipelines of all callers.
func (s *Store) do(ctx context.Context, cmds ...redis.Cmder) error {
	if err := s.pipes.do(ctx, cmds); err != nil {
		return err
	}
	for _, c := range cmds {
		if err := c.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return failure(err)
		}
	}
	return nil
}

// Beat notes that a node is alive.
func (s *Store) Beat(ctx context.Context, n bus.Node) error {
	b, err := json.Marshal(n)
	if err != nil {
		return bus.ErrInternal.Wrap(err)
	}
	_, err = s.run(ctx, beatScript, []string{s.keys.nodes(), s.keys.heard(), s.keys.truce()}, n.Name, b, (10 * bus.NodeTTL).Milliseconds(), bus.NodeTTL.Milliseconds())
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// Gone forgets a node. When it was heard of is kept, for those who reap what it has left behind.
func (s *Store) Gone(ctx context.Context, name string) error {
	return s.do(ctx, redis.NewIntCmd(ctx, "hdel", s.keys.nodes(), name))
}

// Nodes returns the living nodes.
func (s *Store) Nodes(ctx context.Context) ([]bus.Node, error) {
	cmd, err := s.run(ctx, nodesScript, []string{s.keys.nodes(), s.keys.heard()}, bus.NodeTTL.Milliseconds())
	if err != nil {
		return nil, unavailable(err)
	}
	texts, err := cmd.StringSlice()
	if err != nil {
		return nil, failure(err)
	}
	nodes := make([]bus.Node, 0, len(texts))
	for _, text := range texts {
		var n bus.Node
		if json.Unmarshal([]byte(text), &n) == nil {
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b bus.Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes, nil
}

// SaveToken keeps a token's value.
func (s *Store) SaveToken(ctx context.Context, id string, value []byte, ttl time.Duration) error {
	cmd, err := s.run(ctx, saveTokenScript, []string{s.keys.token(id)}, value, ttl.Milliseconds())
	if err != nil {
		return unavailable(err)
	}
	if n, err := cmd.Int(); err != nil {
		return failure(err)
	} else if n == 0 {
		return bus.ErrTokenExists
	}
	return nil
}

// Token returns a token's value.
func (s *Store) Token(ctx context.Context, id string) ([]byte, error) {
	cmd := redis.NewStringCmd(ctx, "hget", s.keys.token(id), "v")
	if err := s.do(ctx, cmd); err != nil {
		return nil, err
	}
	if errors.Is(cmd.Err(), redis.Nil) {
		return nil, bus.ErrTokenNotFound
	}
	return []byte(cmd.Val()), nil
}

// UseToken returns a token's value and marks it used.
func (s *Store) UseToken(ctx context.Context, id string) ([]byte, bool, error) {
	cmd, err := s.run(ctx, useTokenScript, []string{s.keys.token(id)})
	if errors.Is(err, redis.Nil) {
		return nil, false, bus.ErrTokenNotFound
	}
	if err != nil {
		return nil, false, unavailable(err)
	}
	answer, err := cmd.Slice()
	if err != nil || len(answer) != 2 {
		return nil, false, bus.ErrStoreUnavailable.Wrap(err)
	}
	value, _ := answer[0].(string)
	uses, _ := answer[1].(int64)
	return []byte(value), uses > 0, nil
}

// DropToken forgets a token.
func (s *Store) DropToken(ctx context.Context, id string) error {
	return s.do(ctx, redis.NewIntCmd(ctx, "del", s.keys.token(id)))
}

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
		ID: uuid.NewString(), To: bus.Revoked, Data: data, ContentType: bus.JSON, Published: time.Now(),
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

// channelRecord is a created channel in the store.
type channelRecord struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Created     time.Time         `json:"created"`
	TokenDigest string            `json:"token"`
}

// CreateChannel keeps a new channel. The list of channels is in another slot and comes second: a channel that is
// not in the list after a crash is found by its name.
func (s *Store) CreateChannel(ctx context.Context, c bus.Channel, limit int) error {
	b, err := json.Marshal(channelRecord{c.Labels, c.Created, c.TokenDigest})
	if err != nil {
		return bus.ErrInternal.Wrap(err)
	}
	if limit > 0 {
		count := redis.NewIntCmd(ctx, "zcard", s.keys.channels())
		if err := s.do(ctx, count); err != nil {
			return err
		}
		if count.Val() >= int64(limit) {
			return bus.ErrChannelLimit.With("", map[string]string{"limit": strconv.Itoa(limit)})
		}
	}
	cmd := redis.NewIntCmd(ctx, "setnx", s.keys.channel(c.Address), b)
	if err := s.do(ctx, cmd); err != nil {
		return err
	}
	if cmd.Val() == 0 {
		return bus.ErrChannelExists.With("", map[string]string{"address": c.Address.String()})
	}
	return s.do(ctx, redis.NewIntCmd(ctx, "zadd", s.keys.channels(), 0, c.Address.String()))
}

// Channel returns a created channel.
func (s *Store) Channel(ctx context.Context, a bus.Address) (bus.Channel, error) {
	cmd := redis.NewStringCmd(ctx, "get", s.keys.channel(a))
	if err := s.do(ctx, cmd); err != nil {
		return bus.Channel{}, err
	}
	c, ok := readChannel(a, cmd)
	if !ok {
		return bus.Channel{}, bus.ErrChannelNotFound.With("", map[string]string{"address": a.String()})
	}
	return c, nil
}

func readChannel(a bus.Address, cmd *redis.StringCmd) (bus.Channel, bool) {
	var r channelRecord
	if cmd.Err() != nil || json.Unmarshal([]byte(cmd.Val()), &r) != nil {
		return bus.Channel{}, false
	}
	return bus.Channel{Address: a, Labels: r.Labels, Created: r.Created, TokenDigest: r.TokenDigest}, true
}

// ListChannels returns a page of created channels.
func (s *Store) ListChannels(ctx context.Context, after string, limit int) (bus.ChannelPage, error) {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	names := redis.NewStringSliceCmd(ctx, "zrangebylex", s.keys.channels(), from, "+", "limit", 0, limit+1)
	if err := s.do(ctx, names); err != nil {
		return bus.ChannelPage{}, err
	}
	var page bus.ChannelPage
	list := names.Val()
	if len(list) > limit {
		list, page.More = list[:limit], true
	}
	var addresses []bus.Address
	var cmds []redis.Cmder
	for _, name := range list {
		if a, err := bus.ParseAddress(name); err == nil {
			addresses = append(addresses, a)
			cmds = append(cmds, redis.NewStringCmd(ctx, "get", s.keys.channel(a)))
		}
	}
	if len(cmds) == 0 {
		return page, nil
	}
	if err := s.do(ctx, cmds...); err != nil {
		return bus.ChannelPage{}, err
	}
	for i, cmd := range cmds {
		if c, ok := readChannel(addresses[i], cmd.(*redis.StringCmd)); ok {
			page.Channels = append(page.Channels, c)
		}
	}
	return page, nil
}

// DeleteChannel removes a channel and what it has kept, and announces it.
func (s *Store) DeleteChannel(ctx context.Context, a bus.Address) error {
	said := encode(&bus.Message{ID: uuid.NewString(), ContentType: bus.JSON, Kind: bus.MessageDeleted, Published: time.Now()})
	keys := []string{s.keys.channel(a), s.keys.stream(a), s.keys.meta(a), s.keys.push(a), s.keys.last(a)}
	cmd, err := s.run(ctx, deleteChannelScript, keys, s.publishVerb(), said)
	if err != nil {
		return unavailable(err)
	}
	n, err := cmd.Int()
	if err != nil {
		return failure(err)
	}
	if err := s.do(ctx, redis.NewIntCmd(ctx, "zrem", s.keys.channels(), a.String())); err != nil {
		return err
	}
	if n == 0 {
		return bus.ErrChannelNotFound.With("", map[string]string{"address": a.String()})
	}
	return nil
}
