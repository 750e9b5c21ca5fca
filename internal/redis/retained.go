package redis

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

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
func (s *Store) recorded(to bus.Address, record string) (*bus.Message, bool) {
	if r := s.records(to); r != nil {
		return r.Map([]byte(record))
	}
	return s.bare(to, record), true
}

// marked hands a mark on: "<mark> <address>".
func (f *feed) marked(by *link, text string) {
	mark, name, _ := strings.Cut(text, " ")
	a, err := bus.StoredAddress(name)
	if err != nil {
		return
	}
	f.mu.Lock()
	sub := f.subs[a]
	f.mu.Unlock()
	if sub != nil {
		f.take(sub, by, &bus.Message{ID: mark, To: a, Kind: bus.MessageMark})
	}
}

// Retained reads the last message of an address. The mark comes back on the connection that the address is subscribed on, on
// which Redis keeps the order of what it does.
func (f *feed) Retained(ctx context.Context, a bus.Address, mark string) (bus.Last, error) {
	f.mu.Lock()
	sub := f.subs[a]
	var l *link
	if sub != nil {
		l = sub.home.Load()
	}
	f.mu.Unlock()
	if l == nil {
		return bus.Last{}, bus.ErrStoreUnavailable.With("the address is not subscribed", map[string]string{"address": a.String()})
	}
	key, second := f.store.keys.last(a), f.store.secondName(a)
	if second != "" && f.store.records(a) != nil {
		second = ""
	}
	if second != "" {
		key = second
	}
	cmd, err := f.store.run(ctx, retainedScript, []string{key}, l.probe, mark+" "+a.String())
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
