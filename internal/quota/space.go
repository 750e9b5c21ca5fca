package quota

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
)

// space is what all accounts together may make a namespace know, and how much they do. Its zero value has no limit.
type space struct {
	mu     sync.Mutex
	rating rating
	bucket bucket
	used   usage

	// What is kept.
	most    int // 0 for no limit
	in      bus.Space
	setting string
	gauge   prometheus.Gauge // nil where nothing is counted
	kept    int              // as the store said last
	fresh   int              // new ones since
	pending []bus.Address    // to be told to the store
	recount time.Time        // when to ask the store, at the latest
}

// others is the name, in metrics, of all channels whose namespace is not configured. No namespace has such a name.
const others = "(others)"

// spaces are the namespaces that are configured, and one for all others. Addresses that are no channels are told apart by kind and
// have no limit. So the number of spaces does not grow with what callers name.
type spaces struct {
	named  map[string]*space
	others *space
	kinds  map[bus.Kind]*space
}

func newSpaces(n bus.Namespaces, m *metrics, now time.Time) spaces {
	s := spaces{named: make(map[string]*space), kinds: make(map[bus.Kind]*space)}
	with := func(name string, ns bus.Namespace, setting string) *space {
		r := rating{amount: float64(ns.AddressesPerHour), per: time.Hour, setting: setting + ".addresses_per_hour"}
		return &space{rating: r, bucket: bucket{left: r.amount, at: now}, used: m.usage(name)}
	}
	names := slices.Collect(maps.Keys(n.Named))
	counting := func(name string, ns bus.Namespace, setting string, in bus.Space) *space {
		room := with(name, ns, setting)
		room.most, room.in, room.setting, room.gauge = ns.Addresses, in, setting+".addresses", m.kept.WithLabelValues(name)
		room.in.Age = ns.Retention.Age
		return room
	}
	s.others = counting(others, n.Default, "channels.defaults", bus.Space{Others: names})
	for name, ns := range n.Named {
		s.named[name] = counting(name, ns, "channels.namespaces."+name, bus.Space{Name: name})
	}
	for _, kind := range []bus.Kind{bus.KindBroadcast, bus.KindClients, bus.KindUsers, bus.KindGroups, bus.KindSessions, bus.KindSystem} {
		s.kinds[kind] = with("("+string(kind)+")", bus.Namespace{}, "")
	}
	return s
}

// counted returns the spaces whose addresses are counted.
func (s *spaces) counted() []*space { return append(slices.Collect(maps.Values(s.named)), s.others) }

// of returns the space of an address.
func (s *spaces) of(a bus.Address) *space {
	if kind := s.kinds[a.Kind()]; kind != nil {
		return kind
	}
	if named := s.named[a.Namespace()]; named != nil {
		return named
	}
	return s.others
}

// take takes one new address. When the limit is reached it takes nothing, and returns how long to wait.
func (s *space) take(now time.Time) (wait time.Duration, ok bool) {
	if s.rating.amount == 0 {
		return 0, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bucket.fill(s.rating, now)
	if missing := 1 - s.bucket.left; missing > 0 {
		return time.Duration(missing / s.rating.amount * float64(s.rating.per)), false
	}
	s.bucket.left--
	return 0, true
}

// back gives back what was taken for a call that was refused after all.
func (s *space) back() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bucket.left = min(s.bucket.left+1, s.rating.amount)
}
