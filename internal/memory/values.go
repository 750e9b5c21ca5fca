package memory

import (
	"context"
	"math"
	"strconv"
	"strings"
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
	bytes int // as the budget counts it
	told  int // to the budget
}

type value struct {
	text string
	ends time.Time // zero for never
}

// get returns a value that has not ended.
func (o *owned) get(key string, now time.Time) (value, bool) {
	v, ok := o.keys[key]
	if ok && !v.ends.IsZero() && !now.Before(v.ends) {
		o.drop(key)
		return value{}, false
	}
	return v, ok
}

// put keeps a value, and drop forgets one.
func (o *owned) put(key string, v value) {
	o.drop(key)
	o.keys[strings.Clone(key)] = v
	o.bytes += valueCost + len(key) + len(v.text)
}

func (o *owned) drop(key string) {
	if v, ok := o.keys[key]; ok {
		o.bytes -= valueCost + len(key) + len(v.text)
		delete(o.keys, key)
	}
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
	o := s.values.of(s, c.Owner, now)
	if c.Verb == bus.ValueSet || c.Verb == bus.ValueIncr {
		if err := s.budget.full(); err != nil {
			return bus.ValueResult{}, err
		}
	}
	r, changed, err := o.command(c, now)
	if changed {
		o.until = now.Add(c.Keep)
		s.values.owners[strings.Clone(c.Owner)] = o
		s.countedValues(c.Owner, o)
	}
	return r, err
}

// countedValues tells the budget what an owner's values have grown or shrunk by.
func (s *Store) countedValues(name string, o *owned) {
	size := ownerCost + len(name) + o.bytes
	s.budget.used.Add(int64(size - o.told))
	o.told = size
}

// sweep forgets everything that has ended.
func (v *values) sweep(s *Store, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, o := range v.owners {
		if !now.Before(o.until) {
			v.forget(s, name, o)
			continue
		}
		for key := range o.keys {
			o.get(key, now)
		}
		s.countedValues(name, o)
	}
}

// forget forgets an owner. The caller holds the lock.
func (v *values) forget(s *Store, name string, o *owned) {
	s.budget.used.Add(int64(-o.told))
	delete(v.owners, name)
}

// of returns the values of an owner, and forgets some that have ended. The caller holds the lock.
func (v *values) of(s *Store, name string, now time.Time) *owned {
	if v.owners == nil {
		v.owners = make(map[string]*owned)
	}
	seen := 0
	for k, o := range v.owners { // in an order that Go makes random
		if !now.Before(o.until) {
			v.forget(s, k, o)
		}
		if seen++; seen >= 2 {
			break
		}
	}
	o := v.owners[name]
	if o != nil && !now.Before(o.until) {
		v.forget(s, name, o)
		o = nil
	}
	if o == nil {
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
		v = value{text: strings.Clone(c.Value)}
		if c.TTL > 0 {
			v.ends = now.Add(c.TTL)
		}
		o.put(key, v)
		return bus.ValueResult{Text: "OK"}, true, nil
	case bus.ValueDel:
		for _, k := range c.Keys {
			if _, ok := o.get(k, now); ok {
				o.drop(k)
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
		o.put(key, v)
		return bus.ValueResult{Number: n + 1}, true, nil
	case bus.ValueExpire:
		if !there {
			return r, false, nil
		}
		if v.ends = now.Add(c.TTL); c.TTL <= 0 {
			o.drop(key)
		} else {
			o.put(key, v)
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
