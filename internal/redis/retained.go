package redis

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/links"
)

// feed is what the store adds to its subscriptions: the last message of an address.
type feed struct {
	*links.Feed
	store *Store
}

var _ bus.Feed = feed{}

// NewFeed returns a feed without subscriptions.
func (s *Store) NewFeed() bus.Feed {
	return feed{store: s, Feed: links.New(links.Config{
		Client: s.client, Timeout: s.cfg.Timeout, Bridges: s.cfg.Bridges, Metrics: s.subscriptions, Log: s.log,
		Channel: s.keys.push, Alias: s.aliasChannel, Probe: s.keys.probe, Life: s.keys.life,
		Decode: s.heard, DecodeAlias: s.mapped, Send: s.pipes.DoOne, Saw: s.lives.Saw,
	})}
}

// heard reads what came on the channel of an address; nil for what is no message.
func (s *Store) heard(to bus.Address, payload []byte) (m *bus.Message, copied bool) {
	if string(payload) == heldUpHint {
		s.heldUp.add(to)
		return nil, false
	}
	m, copied, err := decodePush(to, payload)
	return s.taken(m, err, unreadPush, to), copied
}

// alias returns the channel that an address shares with other programs; nil when there is none.
func (s *Store) alias(a bus.Address) bus.Alias {
	if s.cfg.Aliases == nil {
		return nil
	}
	return s.cfg.Aliases(a)
}

// aliasChannel returns the name of that channel; empty when there is none.
func (s *Store) aliasChannel(a bus.Address) string {
	if alias := s.alias(a); alias != nil {
		return alias.Channel()
	}
	return ""
}

// mapped is the message of what another program has sent or kept; false when it is for nobody.
func (s *Store) mapped(to bus.Address, data []byte) (*bus.Message, bool) {
	alias := s.alias(to)
	if alias == nil {
		return nil, false
	}
	m, ok := alias.Map(data)
	if ok {
		m.Published = s.Now()
	}
	return m, ok
}

// Retained reads the last message of an address. The mark comes back on the connection that the address is subscribed on, on
// which Redis keeps the order of what it does.
func (f feed) Retained(ctx context.Context, a bus.Address, mark string) (bus.Last, error) {
	channel, subscribed := f.MarkOn(a)
	if !subscribed {
		return bus.Last{}, bus.ErrStoreUnavailable.With("the address is not subscribed", map[string]string{"address": a.String()})
	}
	key, alias := f.store.keys.last(a), f.store.alias(a)
	bare := alias != nil && alias.Keeps()
	if bare {
		key = alias.Channel()
	}
	cmd, err := f.store.run(ctx, retainedScript, []string{key}, channel, mark+" "+a.String())
	if errors.Is(err, redis.Nil) {
		return bus.Last{}, nil
	}
	if err != nil {
		return bus.Last{}, unavailable(err)
	}
	text, err := cmd.Text()
	if err != nil {
		return bus.Last{}, failure(err)
	}
	if bare {
		m, _ := f.store.mapped(a, []byte(text))
		return bus.Last{Message: m, Bare: true}, nil
	}
	m, _, err := decodePush(a, []byte(text))
	// Redis forgets it by its retention; the message itself may end earlier.
	if m = f.store.taken(m, err, unreadRetained, a); m != nil && m.Expired(f.store.Now()) {
		m = nil
	}
	return bus.Last{Message: m}, nil
}
