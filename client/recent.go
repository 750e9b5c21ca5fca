package client

import (
	"strconv"
	"time"
)

// recentLimit is how many messages without a position are remembered.
const recentLimit = 1024

// recent remembers names, the newest ones.
type recent struct {
	ids  map[string]struct{}
	ring []string
	at   int
}

func newRecent() *recent {
	return &recent{ids: make(map[string]struct{}), ring: make([]string, recentLimit)}
}

// first says whether the name was not seen lately.
func (r *recent) first(id string) bool {
	if _, ok := r.ids[id]; ok {
		return false
	}
	delete(r.ids, r.ring[r.at])
	r.ring[r.at] = id
	r.at = (r.at + 1) % len(r.ring)
	r.ids[id] = struct{}{}
	return true
}

// keptLimit is how many messages of an address are remembered beyond a fork of its log.
const keptLimit = 256

// kept remembers the newest messages of one address. When a log loses its end, a publisher that repeats what was in it, with its
// key, has it published again. The position and the time are new, but the rest of the id is the same.
type kept struct {
	had  map[string]had
	ring []string
	at   int
}

// had is a message that was handed on.
type had struct{ id, epoch string }

// repeatWindow is how long the server remembers keys, by default.
const repeatWindow = 10 * time.Minute

// place makes room for a name.
func (k *kept) place(name string) {
	if len(k.ring) < keptLimit {
		k.ring = append(k.ring, name)
		return
	}
	delete(k.had, k.ring[k.at])
	k.ring[k.at] = name
	k.at = (k.at + 1) % keptLimit
}

// timeDigits is where the time of a UUIDv7 ends.
const timeDigits = len("018f4e6e-7b7a-")

// rest is the id without its time; all of it when it has none.
func (h had) rest() string {
	if _, ok := h.time(); !ok {
		return h.id
	}
	return h.id[timeDigits:]
}

// time is when the id was made; false when it does not say.
func (h had) time() (time.Time, bool) {
	if len(h.id) != 36 || h.id[timeDigits] != '7' || h.id[8] != '-' || h.id[timeDigits-1] != '-' {
		return time.Time{}, false
	}
	ms, err := strconv.ParseUint(h.id[:8]+h.id[9:timeDigits-1], 16, 48)
	return time.UnixMilli(int64(ms)), err == nil
}

// near says whether both may be of one publication: its key is known for so long.
func (h had) near(other had) bool {
	at, ok := h.time()
	then, ok2 := other.time()
	return h.id == other.id || ok && ok2 && at.Sub(then).Abs() <= repeatWindow
}
