package rpc

import "sync"

// Recent is a bounded map that forgets what was not used lately: two generations, of which the older is
// dropped when the younger is full. It may be used concurrently.
type Recent[K comparable, V any] struct {
	mu    sync.Mutex
	limit int
	young map[K]V
	old   map[K]V
}

// NewRecent returns a map of at most limit entries.
func NewRecent[K comparable, V any](limit int) *Recent[K, V] {
	return &Recent[K, V]{limit: max(1, limit/2), young: make(map[K]V)}
}

// Get returns what was put for the key.
func (r *Recent[K, V]) Get(key K) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.young[key]; ok {
		return v, true
	}
	v, ok := r.old[key]
	if ok {
		r.put(key, v)
	}
	return v, ok
}

// Put keeps a value for the key.
func (r *Recent[K, V]) Put(key K, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(key, v)
}

func (r *Recent[K, V]) put(key K, v V) {
	if len(r.young) >= r.limit {
		r.old = r.young
		r.young = make(map[K]V)
	}
	r.young[key] = v
}

// Clear forgets everything.
func (r *Recent[K, V]) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.young, r.old = make(map[K]V), nil
}

// Delete forgets the key.
func (r *Recent[K, V]) Delete(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.young, key)
	delete(r.old, key)
}
