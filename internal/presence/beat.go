package presence

import (
	"slices"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// beat is what has changed in one address since it was told last. The lock of the Gatherer guards it.
type beat struct {
	address bus.Address
	end     time.Time
	last    *bus.Message // the newest change; nil when there was none

	clients  int
	changes  []bus.PresenceEvent // an empty Kind where a later change has undone it
	at       map[string]int      // the place of each client's change
	unlisted int                 // changes that are only counted
}

// note adds a change. Where a client is back where it was, nothing is left of it. Beyond the bound the changes of the beat are
// only counted. It returns by how much the weight has grown.
func (b *beat) note(e bus.PresenceEvent, listed int) int {
	before := b.weight()
	b.clients = e.Clients
	i, changed := b.at[e.Member.Client]
	switch {
	case b.unlisted > 0 || e.Clients > listed || len(b.at) >= 2*listed:
		b.unlisted += len(b.at) + 1
		b.changes, b.at = nil, nil
	case changed && b.changes[i].Kind != e.Kind:
		b.changes[i] = bus.PresenceEvent{}
		delete(b.at, e.Member.Client)
		b.compact(listed)
	case changed:
		b.changes[i] = e
	default:
		if b.at == nil {
			b.at = make(map[string]int)
		}
		b.at[e.Member.Client] = len(b.changes)
		b.changes = append(b.changes, e)
	}
	return b.weight() - before
}

// compact forgets the places of what was undone once they are most of the list.
func (b *beat) compact(listed int) {
	if len(b.changes) < 4*listed {
		return
	}
	b.changes = slices.DeleteFunc(b.changes, undone)
	for i := range b.changes {
		b.at[b.changes[i].Member.Client] = i
	}
}

// undone says whether a later change has undone this one.
func undone(e bus.PresenceEvent) bool { return e.Kind == "" }

// weight is how many changes wait.
func (b *beat) weight() int { return len(b.at) + b.unlisted }

// take returns what has changed and begins anew; false when that is nothing.
func (b *beat) take() (bus.PresenceNews, bool) {
	news := bus.PresenceNews{Changes: slices.DeleteFunc(b.changes, undone), Clients: b.clients, Unlisted: b.unlisted}
	b.changes, b.at, b.unlisted = nil, nil, 0
	return news, len(news.Changes) > 0 || news.Unlisted > 0
}
