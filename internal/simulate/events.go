package simulate

import (
	"fmt"
	"slices"

	"github.com/trunkline/trunkline/internal/bus"
)

// Publish appends a message, which is named for its number, and pushes it.
func (s *Store) Publish(a bus.Address) *bus.Message { return s.PublishData(a, []byte(`1`)) }

// PublishData is Publish of other data.
func (s *Store) PublishData(a bus.Address, data []byte) *bus.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent++
	m := &bus.Message{ID: fmt.Sprint("m", s.sent), To: a, Data: data, ContentType: bus.JSON}
	s.append(s.log(a), m)
	s.tell("%s is published to %s at %s", m.ID, a, spell(m.Position))
	s.push(m)
	return m
}

// append appends a message under the epoch of the life that the server is in.
func (s *Store) append(r *record, m *bus.Message) {
	switch {
	case r.epoch == "":
		*r = record{epoch: s.newEpoch(), life: s.life}
	case r.life != s.life:
		// Nothing proves that what was acknowledged has survived, so no offset is used twice.
		r.past = append([]past{{r.epoch, r.top}}, r.past...)
		r.epoch, r.life = s.newEpoch(), s.life
	}
	r.top++
	m.Position = r.position(r.top)
	r.entries = append(r.entries, m)
	if keep := s.cfg.Length; keep > 0 && len(r.entries) > keep {
		s.destroy(r.entries[:len(r.entries)-keep])
		r.entries = slices.Clone(r.entries[len(r.entries)-keep:])
	}
}

// Flush loses everything.
func (s *Store) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.logs {
		s.destroy(r.entries)
		*r = record{}
	}
	s.beginning++
	s.life++
	s.tell("the store loses everything")
}

// Failover has another server take over. Each log has lost up to so many entries at its end, but never all. An address that has
// lost all its messages looks like one that nothing was published to. With back, a log may lose a whole epoch. It is then again
// in the one before.
func (s *Store) Failover(lost int, back bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life++
	for _, r := range s.logs {
		n := min(lost, max(len(r.entries)-1, 0))
		if len(r.past) > 0 && !back {
			n = min(n, int(r.top-r.past[0].last)-1)
		}
		s.destroy(r.entries[len(r.entries)-n:])
		r.cut(n)
	}
	s.tell("another server takes over, up to %d messages of each log are lost", lost)
	s.breakLinks()
}

// Delete deletes a channel, and announces it.
func (s *Store) Delete(a bus.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.log(a)
	s.destroy(r.entries)
	*r = record{}
	s.eras[a]++
	s.tell("%s is deleted", a)
	s.push(&bus.Message{To: a, Kind: bus.MessageDeleted})
}
