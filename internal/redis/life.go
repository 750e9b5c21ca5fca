package redis

import (
	"errors"
	"strconv"
	"strings"

	"github.com/trunkline/trunkline/internal/redis/server"
)

// life is the life of the server of one connection: the time between two changes of its replication id, which changes at every
// restart and every promotion. While the channel that is named for it has a subscriber, scripts know without INFO that the
// server is still in that life, because the connection ends with it.
//
//	id      subscribed  state
//	empty   no          not asked, or the server is no master
//	set     no          asked for; INFO comes again behind the confirmation
//	set     yes         INFO is asked each second; the connection ends when it says something else
type life struct{ id string }

// errLife is a server that is not in the life any more whose channel the connection keeps.
var errLife = errors.New("the server has begun another life")

// informed takes the answer to INFO.
func (h *hearing) informed(text string) error {
	id := ""
	if server.Field(text, "role") == "master" {
		id = server.Field(text, "master_replid")
		n, _ := strconv.Atoi(server.Field(text, "connected_slaves")) // none where it does not say
		h.link.feed.store.lives.Saw(id, n)
	}
	switch {
	case h.life.id == id:
		return nil
	case h.life.id != "":
		return errLife
	}
	h.life.id = id
	h.link.mu.Lock()
	h.link.want(&want{channel: h.link.feed.store.keys.life(id), use: ofLife})
	h.link.mu.Unlock()
	h.link.signal()
	return nil
}

// uninformed gives the life up: what cannot be asked is not kept. Where it is not permitted it is not asked again.
func (h *hearing) uninformed(text string) {
	l := h.link
	l.mu.Lock()
	l.lifeless = strings.HasPrefix(text, "NOPERM")
	channel := l.feed.store.keys.life(h.life.id)
	if w := l.wanted[channel]; w != nil {
		delete(l.wanted, channel)
		l.ask(request{verb: unsubscribe, channel: channel, want: w})
	}
	l.mu.Unlock()
	h.life.id = ""
	l.signal()
}
