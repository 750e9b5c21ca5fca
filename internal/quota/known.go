package quota

import "sync"

// known is the addresses that were met lately, by a hash of their names, and the day on which each was noted last. It has two halves: when the younger one is full, the older
// one is forgotten. Two addresses with one hash count as one, which costs nobody anything.
type known struct {
	parts [shards]struct {
		mu             sync.Mutex
		younger, older map[uint64]uint16
	}
	half int
}

// init makes room for so many addresses.
func (k *known) init(most int) {
	k.half = max(most/shards/2, 1)
	for i := range k.parts {
		k.parts[i].younger = make(map[uint64]uint16)
	}
}

// has says whether the address was met, and on which day it was noted; 0 for none. One that was met long ago counts as met just now.
func (k *known) has(address uint64) (noted uint16, ok bool) {
	p := &k.parts[address%shards]
	p.mu.Lock()
	defer p.mu.Unlock()
	if noted, ok = p.younger[address]; ok {
		return noted, true
	}
	if noted, ok = p.older[address]; ok {
		k.put(address, noted)
	}
	return noted, ok
}

// add remembers an address, and the day on which it was noted.
func (k *known) add(address uint64, noted uint16) {
	p := &k.parts[address%shards]
	p.mu.Lock()
	defer p.mu.Unlock()
	k.put(address, noted)
}

// put remembers an address. The caller holds the lock of its part.
func (k *known) put(address uint64, noted uint16) {
	p := &k.parts[address%shards]
	if len(p.younger) >= k.half {
		p.older, p.younger = p.younger, make(map[uint64]uint16)
	}
	p.younger[address] = noted
}
