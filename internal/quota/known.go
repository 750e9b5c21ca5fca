package quota

import "sync"

// known is the addresses that were met lately, by a hash of their names. It has two halves: when the younger one is full, the older
// one is forgotten. Two addresses with one hash count as one, which costs nobody anything.
type known struct {
	parts [shards]struct {
		mu             sync.Mutex
		younger, older map[uint64]struct{}
	}
	half int
}

// init makes room for so many addresses.
func (k *known) init(most int) {
	k.half = max(most/shards/2, 1)
	for i := range k.parts {
		k.parts[i].younger = make(map[uint64]struct{})
	}
}

// has says whether the address was met. One that was met long ago counts as met just now.
func (k *known) has(address uint64) bool {
	p := &k.parts[address%shards]
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.younger[address]; ok {
		return true
	}
	_, ok := p.older[address]
	if ok {
		k.put(address)
	}
	return ok
}

// add notes an address.
func (k *known) add(address uint64) {
	p := &k.parts[address%shards]
	p.mu.Lock()
	defer p.mu.Unlock()
	k.put(address)
}

// put notes an address. The caller holds the lock of its part.
func (k *known) put(address uint64) {
	p := &k.parts[address%shards]
	if len(p.younger) >= k.half {
		p.older, p.younger = p.younger, make(map[uint64]struct{})
	}
	p.younger[address] = struct{}{}
}
