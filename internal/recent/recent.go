// Package recent remembers what was used lately, bounded by number and by bytes.
package recent

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Cache remembers values by key. What was used longest ago leaves when there is more than it may hold. It may be used concurrently.
type Cache[K comparable, V any] struct {
	most int

	mu    sync.Mutex
	lru   *simplelru.LRU[K, sized[V]]
	bytes int
}

type sized[V any] struct {
	value V
	bytes int
}

// New returns a cache of at most so many values, and so many bytes. Both are above 0.
func New[K comparable, V any](values, bytes int) *Cache[K, V] {
	c := &Cache[K, V]{most: bytes}
	c.lru, _ = simplelru.NewLRU[K](values, func(_ K, s sized[V]) { c.bytes -= s.bytes }) // fails for no positive size
	return c
}

// Get returns the value of a key; false when it is not remembered.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.lru.Get(key)
	return s.value, ok
}

// Add remembers a value that takes so many bytes. One that takes more than all may is not remembered.
func (c *Cache[K, V]) Add(key K, value V, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lru.Remove(key)
	if bytes > c.most {
		return
	}
	c.lru.Add(key, sized[V]{value, bytes})
	c.bytes += bytes
	for c.bytes > c.most {
		c.lru.RemoveOldest()
	}
}

// Purge forgets everything.
func (c *Cache[K, V]) Purge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lru.Purge()
	c.bytes = 0
}

// Size returns how many values are remembered, and how many bytes they take.
func (c *Cache[K, V]) Size() (values, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Len(), c.bytes
}
