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

// bulk is how many things one caller sends at once: about as many as go in one pipeline.
const bulk = 512

// do carries out plain commands in the pipelines of all callers.
func (s *Store) do(ctx context.Context, cmds ...redis.Cmder) error {
	if err := s.pipes.Do(ctx, cmds); err != nil {
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
	_, err = s.run(ctx, beatScript, []string{s.keys.nodes(), s.keys.heard(), s.keys.truce()}, n.Life, b, (10 * bus.NodeTTL).Milliseconds(), bus.NodeTTL.Milliseconds())
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// Gone forgets a node. When it was heard of is kept, for those who reap what it has left behind.
func (s *Store) Gone(ctx context.Context, life string) error {
	return s.do(ctx, redis.NewIntCmd(ctx, "hdel", s.keys.nodes(), life))
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
		if json.Unmarshal([]byte(text), &n) != nil || n.Life == "" || !bus.InTime(n.Started) {
			s.garbage.drop(unreadNode, "the list of processes")
			continue
		}
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b bus.Node) int { return strings.Compare(a.Life, b.Life) })
	return nodes, nil
}

// channelRecord is a created channel in the store.
type channelRecord struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Created     time.Time         `json:"created"`
	TokenDigest string            `json:"token"`
}

// CreateChannel keeps a new channel. The list of channels is in another slot and comes first, which holds the limit whoever else
// creates. A name that is listed after a crash has no channel, and is left out of pages. The next creation or deletion of that
// name goes on from there.
func (s *Store) CreateChannel(ctx context.Context, c bus.Channel, limit int) error {
	b, err := json.Marshal(channelRecord{c.Labels, c.Created, c.TokenDigest})
	if err != nil {
		return bus.ErrInternal.Wrap(err)
	}
	cmd, err := s.run(ctx, listChannelScript, []string{s.keys.channels()}, c.Address.String(), limit)
	if err != nil {
		return unavailable(err)
	}
	listed, err := cmd.Text()
	if err != nil {
		return failure(err)
	}
	if listed == "full" {
		return bus.ErrChannelLimit.With("", map[string]string{"limit": strconv.Itoa(limit)})
	}
	record := redis.NewIntCmd(ctx, "setnx", s.keys.channel(c.Address), b)
	if err := s.do(ctx, record); err != nil {
		return err
	}
	if record.Val() == 0 {
		return bus.ErrChannelExists.With("", map[string]string{"address": c.Address.String()})
	}
	return nil
}

// Channel returns a created channel.
func (s *Store) Channel(ctx context.Context, a bus.Address) (bus.Channel, error) {
	cmd := redis.NewStringCmd(ctx, "get", s.keys.channel(a))
	if err := s.do(ctx, cmd); err != nil {
		return bus.Channel{}, err
	}
	c, ok := s.readChannel(a, cmd)
	if !ok {
		return bus.Channel{}, bus.ErrChannelNotFound.With("", map[string]string{"address": a.String()})
	}
	return c, nil
}

// readChannel reads the record of a channel. One that cannot be read is none.
func (s *Store) readChannel(a bus.Address, cmd *redis.StringCmd) (bus.Channel, bool) {
	var r channelRecord
	if cmd.Err() != nil {
		return bus.Channel{}, false
	}
	if json.Unmarshal([]byte(cmd.Val()), &r) != nil || r.Created.IsZero() || !bus.InTime(r.Created) {
		s.garbage.drop(unreadChannel, a.String())
		return bus.Channel{}, false
	}
	return bus.Channel{Address: a, Labels: r.Labels, Created: r.Created, TokenDigest: r.TokenDigest}, true
}

// ListChannels returns a page of created channels. It reads past names without a record, so that a page is empty only at the end.
func (s *Store) ListChannels(ctx context.Context, after string, limit int) (bus.ChannelPage, error) {
	var page bus.ChannelPage
	for range pageRounds {
		names, err := s.channelNames(ctx, after, limit+1)
		if err != nil {
			return page, err
		}
		// The one beyond the page only says that there are more.
		if page.More = len(names) > limit; page.More {
			names = names[:limit]
		}
		if page.Channels, err = s.channelsOf(ctx, names); err != nil {
			return bus.ChannelPage{}, err
		}
		if len(page.Channels) > 0 || !page.More {
			break
		}
		after = names[len(names)-1]
	}
	return page, nil
}

// channelNames reads names of the list.
func (s *Store) channelNames(ctx context.Context, after string, limit int) ([]string, error) {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	cmd := redis.NewStringSliceCmd(ctx, "zrangebylex", s.keys.channels(), from, "+", "limit", 0, limit)
	err := s.do(ctx, cmd)
	return cmd.Val(), err
}

// channelsOf reads the records of channels. Any other name leaves the list: it is not ours, and nothing else removes it.
func (s *Store) channelsOf(ctx context.Context, names []string) ([]bus.Channel, error) {
	var addresses []bus.Address
	var cmds []redis.Cmder
	for _, name := range names {
		a, err := bus.StoredAddress(name)
		if err != nil || a.Kind() != bus.KindChannels {
			s.garbage.drop(unreadChannel, "the list of channels")
			addresses, cmds = append(addresses, bus.Address{}), append(cmds, redis.NewIntCmd(ctx, "zrem", s.keys.channels(), name))
			continue
		}
		addresses, cmds = append(addresses, a), append(cmds, redis.NewStringCmd(ctx, "get", s.keys.channel(a)))
	}
	if len(cmds) == 0 {
		return nil, nil
	}
	if err := s.pipes.Do(ctx, cmds); err != nil {
		return nil, err
	}
	var all []bus.Channel
	for i, cmd := range cmds {
		record, ok := cmd.(*redis.StringCmd)
		switch err := cmd.Err(); {
		case redis.HasErrorPrefix(err, "WRONGTYPE"):
			s.garbage.drop(unreadChannel, addresses[i].String())
		case err != nil && !errors.Is(err, redis.Nil) && ok:
			return nil, failure(err)
		case ok:
			// A channel that was deleted in between is listed without a record, and is left out.
			if c, ok := s.readChannel(addresses[i], record); ok {
				all = append(all, c)
			}
		}
	}
	return all, nil
}

// deletedLife is longer than any key is remembered.
const deletedLife = 48 * time.Hour

// DeleteChannel removes a channel and what it has kept, and announces it.
func (s *Store) DeleteChannel(ctx context.Context, a bus.Address) error {
	said := encode(&bus.Message{ID: uuid.NewString(), ContentType: bus.JSON, Kind: bus.MessageDeleted, Published: s.Now()})
	keys := []string{s.keys.channel(a), s.keys.stream(a), s.keys.meta(a), s.keys.push(a), s.keys.last(a), s.keys.era(a), s.keys.state(a)}
	cmd, err := s.run(ctx, deleteChannelScript, keys, s.publishVerb(), said, bus.NewEpoch(), deletedLife.Milliseconds())
	if err != nil {
		return unavailable(err)
	}
	n, err := cmd.Int()
	if err != nil {
		return failure(err)
	}
	// Also without a record: a deletion that was interrupted is finished by the next.
	if err := s.do(ctx, redis.NewIntCmd(ctx, "zrem", s.keys.channels(), a.String())); err != nil {
		return err
	}
	if n == 0 {
		return bus.ErrChannelNotFound.With("", map[string]string{"address": a.String()})
	}
	return nil
}
