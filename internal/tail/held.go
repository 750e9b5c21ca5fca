package tail

import (
	"slices"
	"sync/atomic"

	"github.com/trunkline/trunkline/internal/bus"
)

// held is the messages of an address that wait for what is missing before them, in the order in which they came.
type held struct {
	list   []item
	bytes  int64
	budget *budget
}

// item is one message that is held.
type item struct {
	m    *bus.Message
	look uint64 // how many looks had begun when it came
}

// budget bounds what all addresses of a process hold together.
type budget struct {
	each, total int64
	used        atomic.Int64
}

// itemOverhead is what a message costs besides its data, about.
const itemOverhead = 256

func sizeOf(m *bus.Message) int64 {
	size := itemOverhead + len(m.ID) + len(m.Data)
	for name, value := range m.Attributes {
		size += len(name) + len(value)
	}
	for _, name := range m.Recipients {
		size += len(name)
	}
	return int64(size)
}

// add holds a message; false when it is too much for the address or for the process.
func (h *held) add(m *bus.Message, looks uint64, b *budget) bool {
	size := sizeOf(m)
	if h.bytes+size > b.each {
		return false
	}
	if b.used.Add(size) > b.total {
		b.used.Add(-size)
		return false
	}
	h.budget = b
	h.bytes += size
	h.list = append(h.list, item{m, looks})
	return true
}

// first returns the first message with a position.
func (h *held) first() (item, bool) {
	if i := h.index(); i < len(h.list) {
		return h.list[i], true
	}
	return item{}, false
}

func (h *held) index() int {
	for i := range h.list {
		if !h.list[i].m.Position.IsZero() {
			return i
		}
	}
	return len(h.list)
}

// before takes out the messages without a position that stand before the first one with one; none while there is none.
func (h *held) before() []*bus.Message {
	if i := h.index(); i < len(h.list) {
		return h.cut(i)
	}
	return h.all()
}

// shift takes out the first message, which has a position.
func (h *held) shift() *bus.Message { return h.cut(1)[0] }

// all takes out everything.
func (h *held) all() []*bus.Message {
	all := h.cut(len(h.list))
	h.list = nil
	return all
}

// cut takes out the first n.
func (h *held) cut(n int) []*bus.Message {
	if n == 0 {
		return nil
	}
	out := make([]*bus.Message, n)
	for i := range out {
		out[i] = h.list[i].m
		h.free(out[i])
		h.list[i] = item{}
	}
	h.list = h.list[n:]
	return out
}

// drop drops the messages with a position that which says.
func (h *held) drop(which func(item) bool) {
	h.list = slices.DeleteFunc(h.list, func(i item) bool {
		if i.m.Position.IsZero() || !which(i) {
			return false
		}
		h.free(i.m)
		return true
	})
}

func (h *held) free(m *bus.Message) {
	size := sizeOf(m)
	h.bytes -= size
	h.budget.used.Add(-size)
}
