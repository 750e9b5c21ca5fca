package memory

import (
	"context"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// values is the values of all owners.
type values struct {
	mu     sync.Mutex
	owners map[string]*owned
}

// owned is those of one owner.
type owned struct {
	until time.Time
	keys  map[string]value
}

type value struct {
	text string
	ends time.Time // zero for never
}

// get returns a value that has not ended.
func (o *owned) get(key string, now time.Time) (value, bool) {
	v, ok := o.keys[key]
	if ok && !v.ends.IsZero() && !now.Before(v.ends) {
		delete(o.keys, key)
		return value{}, false
	}
	return v, ok
}

// full says whether a new key would be one too many.
func (o *owned) full(key string, limit int, now time.Time) bool {
	if _, ok := o.keys[key]; ok || len(o.keys) < limit {
		return false
	}
	for k := range o.keys {
		o.get(k, now)
	}
	return len(o.keys) >= limit
}

// Command carries out one command on the values of an owner.
func (s *Store) Command(ctx context.Context, c bus.ValueCommand) (bus.ValueResult, error) {
	if err := ctx.Err(); err != nil {
		return bus.ValueResult{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	now := s.now()
	s.values.mu.Lock()
	defer s.values.mu.Unlock()
	o := s.values.of(c.Owner, now)
	r, changed, err := o.command(c, now)
	if changed {
		o.until = now.Add(c.Keep)
		s.values.owners[c.Owner] = o
	}
	return r, err
}

// of returns the values of an owner, and forgets some that have ended. The caller holds the lock.
func (v *values) of(name string, now time.Time) *owned {
	if v.owners == nil {
		v.owners = make(map[string]*owned)
	}
	seen := 0
	for k, o := range v.owners { // in an order that Go makes random
		if !now.Before(o.until) {
			delete(v.owners, k)
		}
		if seen++; seen >= 2 {
			break
		}
	}
	o := v.owners[name]
	if o == nil || !now.Before(o.until) {
		o = &owned{keys: make(map[string]value)}
	}
	return o
}

func (o *owned) command(c bus.ValueCommand, now time.Time) (r bus.ValueResult, changed bool, err error) {
	key := c.Keys[0]
	v, there := o.get(key, now)
	limit := func() error { return bus.ErrValueLimit.With("", map[string]string{"limit": strconv.Itoa(c.Limit)}) }
	switch c.Verb {
	case bus.ValueGet:
		return bus.ValueResult{Text: v.text, Missing: !there}, false, nil
	case bus.ValueSet:
		if o.full(key, c.Limit, now) {
			return r, false, limit()
		}
		v = value{text: c.Value}
		if c.TTL > 0 {
			v.ends = now.Add(c.TTL)
		}
		o.keys[key] = v
		return bus.ValueResult{Text: "OK"}, true, nil
	case bus.ValueDel:
		for _, k := range c.Keys {
			if _, ok := o.get(k, now); ok {
				delete(o.keys, k)
				r.Number++
			}
		}
		return r, r.Number > 0, nil
	case bus.ValueIncr:
		if !there {
			if o.full(key, c.Limit, now) {
				return r, false, limit()
			}
			v.text = "0"
		}
		n, err := strconv.ParseInt(v.text, 10, 64)
		if err != nil || n == math.MaxInt64 || v.text != strconv.FormatInt(n, 10) {
			return r, false, bus.ErrValueNotNumber
		}
		v.text = strconv.FormatInt(n+1, 10)
		o.keys[key] = v
		return bus.ValueResult{Number: n + 1}, true, nil
	case bus.ValueExpire:
		if !there {
			return r, false, nil
		}
		if v.ends = now.Add(c.TTL); c.TTL <= 0 {
			delete(o.keys, key)
		} else {
			o.keys[key] = v
		}
		return bus.ValueResult{Number: 1}, true, nil
	}
	switch {
	case !there:
		r.Number = -2
	case v.ends.IsZero():
		r.Number = -1
	default:
		r.Number = int64((v.ends.Sub(now) + time.Second - 1) / time.Second)
	}
	return r, false, nil
}
