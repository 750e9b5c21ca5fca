package redis

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/google/uuid"
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
		Channel: s.keys.push, Alias: s.secondName, Probe: s.keys.probe, Life: s.keys.life,
		Decode: s.heard, DecodeAlias: s.recorded, Send: s.pipes.DoOne, Saw: s.lives.Saw,
	})}
}

// heard reads what came on the channel of an address; nil for what is no message.
func (s *Store) heard(to bus.Address, payload []byte) (m *bus.Message, repeated bool, err error) {
	if string(payload) == heldUpHint {
		s.heldUp.add(to)
		return nil, false, nil
	}
	return decodePush(to, payload)
}

// secondName returns the name under which older programs know an address; empty when they do not.
func (s *Store) secondName(a bus.Address) string {
	if s.cfg.Names != nil {
		if name, ok := s.cfg.Names.Name(a); ok {
			return name
		}
	}
	return ""
}

// records returns how the second name of an address is used that is no key; nil when it is one, and records are the data as it is.
func (s *Store) records(a bus.Address) bus.Records {
	if s.cfg.Names == nil || s.cfg.Names.Bridge == nil {
		return nil
	}
	return s.cfg.Names.Bridge(a)
}

// recorded is the message of what an older program has sent; false when it is for nobody.
func (s *Store) recorded(to bus.Address, record []byte) (*bus.Message, bool) {
	if r := s.records(to); r != nil {
		return r.Map(record)
	}
	return s.bare(to, string(record)), true
}

// Retained reads the last message of an address. The mark comes back on the connection that the address is subscribed on, on
// which Redis keeps the order of what it does.
func (f feed) Retained(ctx context.Context, a bus.Address, mark string) (bus.Last, error) {
	channel, subscribed := f.MarkOn(a)
	if !subscribed {
		return bus.Last{}, bus.ErrStoreUnavailable.With("the address is not subscribed", map[string]string{"address": a.String()})
	}
	key, second := f.store.keys.last(a), f.store.secondName(a)
	if second != "" && f.store.records(a) != nil {
		second = ""
	}
	if second != "" {
		key = second
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
	if second != "" {
		return bus.Last{Message: f.store.bare(a, text), Bare: true}, nil
	}
	m, _, err := decodePush(a, []byte(text))
	if err != nil {
		return bus.Last{}, bus.ErrInternal.Wrap(err)
	}
	// Redis forgets it by its retention; the message itself may end earlier.
	if m.Expired(f.store.Now()) {
		m = nil
	}
	return bus.Last{Message: m}, nil
}

// bare is the message of the bare data that older programs send.
func (s *Store) bare(to bus.Address, data string) *bus.Message {
	m := &bus.Message{ID: uuid.Must(uuid.NewV7()).String(), To: to, Data: []byte(data), ContentType: bus.Text, Published: s.Now()}
	if !utf8.ValidString(data) {
		m.ContentType = bus.Binary
	}
	return m
}
