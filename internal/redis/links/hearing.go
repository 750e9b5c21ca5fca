package links

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/redis/resp"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// hearing reads one connection of a link. Everything is the read loop's own.
type hearing struct {
	link *link
	conn *resp.Conn
	push resp.Kind // of what the server says unasked: an array in RESP 2

	// copied is the alias on which the message read last comes again. It is sent on both channels in one step, so nothing else
	// comes between.
	copied string
	// missed are subscriptions that are open again and whose interruption is not told yet.
	missed []*subscription
	// complete is set when everything that was wanted at the beginning is answered.
	complete bool
	life     life
}

// missedAtMost is how many Metrics are told together.
const missedAtMost = 512

// life is the life of the server of one connection: the time between two changes of its replication id. That id changes at every
// restart and every promotion. While the channel that is named for the id has a subscriber, scripts know without INFO that the
// server is still in that life. They know it because the connection ends with that life.
//
// Its state is told by the id and by whether the channel is subscribed:
//
//   - id empty, not subscribed: not asked, or the server is no master
//   - id set, not subscribed: asked for; INFO comes again behind the confirmation
//   - id set, subscribed: INFO is asked each second; the connection ends when it says something else
type life struct{ id string }

// run reads until the connection ends. It tells of an interruption before it hands on the first message after it, and before
// it waits.
func (h *hearing) run() error {
	for {
		if h.conn.Waits() || len(h.missed) >= missedAtMost {
			h.tell()
		}
		v, err := h.conn.Read()
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if err := h.take(v); err != nil {
			return err
		}
	}
}

func (h *hearing) tell() {
	if len(h.missed) > 0 {
		h.link.feed.interrupted(h.link, h.missed)
		h.missed = nil
	}
}

// take sorts what came.
func (h *hearing) take(v resp.Value) error {
	switch v.Kind {
	case h.push:
		return h.pushed(v.Items)
	case resp.Error:
		return h.refused(string(v.Text))
	case resp.Bulk, resp.Verbatim:
		if r, ok := h.link.answered(info, ""); !ok || r.verb != info {
			return fmt.Errorf("%w: a text", errUnexpected)
		}
		return h.informed(string(v.Text))
	}
	return fmt.Errorf("%w: of the kind %q", errUnexpected, v.Kind)
}

// pushed takes a message or a confirmation: its kind, a channel, and the payload or the number of subscriptions.
func (h *hearing) pushed(items []resp.Value) error {
	if len(items) != 3 || items[0].Kind != resp.Bulk || items[1].Kind != resp.Bulk || items[1].Absent {
		return fmt.Errorf("%w: a push of another form", errUnexpected)
	}
	kind := string(items[0].Text)
	if kind == "message" || kind == "smessage" {
		if items[2].Kind != resp.Bulk || items[2].Absent {
			return fmt.Errorf("%w: a message without a payload", errUnexpected)
		}
		return h.message(kind == "smessage", items[1].Text, items[2].Text)
	}
	if items[2].Kind != resp.Integer {
		return fmt.Errorf("%w: a confirmation without a number", errUnexpected)
	}
	switch v := verb(kind); v {
	case subscribe, ssubscribe:
		return h.opened(v, string(items[1].Text))
	case unsubscribe, sunsubscribe:
		return h.ended(v, string(items[1].Text))
	}
	return fmt.Errorf("%w: a push of an unknown kind", errUnexpected)
}

// opened takes the confirmation of a subscription.
func (h *hearing) opened(v verb, channel string) error {
	l := h.link
	r, ok := l.answered(v, channel)
	if !ok {
		return fmt.Errorf("%w: a subscription that was not asked for", errUnexpected)
	}
	if !h.complete { // from then on the probe alone says that the connection is of use
		l.heard.Store(time.Now().UnixMilli())
	}
	w := r.want
	missed, current := l.open(w)
	if !current {
		return nil // it was left meanwhile
	}
	switch w.use {
	case ofAddress, ofAlias:
		if missed {
			h.missed = append(h.missed, w.sub)
		}
		if w.use == ofAlias || w.sub.alias == "" { // the alias is asked for last
			l.feed.confirmed(w.sub)
		}
	case ofProbe:
		h.complete = true
		select {
		case l.echoed <- struct{}{}:
		default:
		}
	case ofLife:
		l.inquire() // the server may have begun another life before it took the subscription
	case ofBridge:
	}
	return nil
}

// ended takes the confirmation that a channel was left, or the news that the server has ended a subscription. The server does
// that when the channel's slot has gone to another node.
func (h *hearing) ended(v verb, channel string) error {
	l := h.link
	if v == unsubscribe {
		// A mark leaves a channel that nobody has, and is answered like any other.
		if _, ok := l.answered(mark, channel); ok {
			return nil
		}
	}
	w := l.close(channel)
	if w == nil {
		return nil // it was left, or its answer is still to come
	}
	if w.use > ofAlias {
		return fmt.Errorf("%w: the server ended a subscription of the connection itself", errUnexpected)
	}
	l.feed.cfg.Metrics.ended.Inc()
	l.inquire() // a node that loses its slots may have another master now
	l.feed.astray(w.sub, l)
	return nil
}

// refused takes an error: it belongs to what was asked first of what is not answered.
func (h *hearing) refused(text string) error {
	requests := h.link.refused()
	if requests == nil {
		return fmt.Errorf("%w: an error", errUnexpected)
	}
	for _, r := range requests {
		switch {
		case r.verb == mark:
			return nil // of something that was left
		case r.verb == info || r.want.use == ofLife:
			h.uninformed(text)
		case r.want.use == ofProbe:
			return fmt.Errorf("%w: the probe's channel: %s", errRefused, text)
		case r.want.use == ofBridge:
			h.link.feed.cfg.Log.Warn("a bridged channel cannot be subscribed", slog.String("channel", r.channel), slog.String("error", text))
		default:
			h.link.feed.cfg.Metrics.refused.Inc()
			h.link.feed.denied(r.want.sub, h.link, text)
		}
	}
	return nil
}

// message hands on what came on a channel.
func (h *hearing) message(sharded bool, channel, payload []byte) error {
	skip := h.copied
	h.copied = ""
	l := h.link
	w := l.wants(channel)
	if w == nil {
		return nil // it was left
	}
	if sharded != (l.sharded(w, subscribe) == ssubscribe) {
		return fmt.Errorf("%w: a message on a channel of another kind", errUnexpected)
	}
	h.tell()
	switch w.use {
	case ofProbe:
		h.echoed(string(payload))
	case ofBridge:
		l.feed.bridged(w.rule, payload)
	case ofAlias:
		// The message itself was handed on just before, and this is its copy.
		if w.channel == skip {
			return nil
		}
		if m, ok := l.feed.cfg.DecodeAlias(w.sub.address, payload); ok {
			l.feed.take(w.sub, l, m)
		}
	case ofAddress:
		h.ours(w.sub, payload)
	case ofLife:
	}
	return nil
}

// echoed takes the probe, or a mark of a reader of what is retained.
func (h *hearing) echoed(payload string) {
	if payload != "" {
		h.link.feed.marked(h.link, payload)
		return
	}
	now := time.Now().UnixMilli()
	h.link.echo.Store(now)
	h.link.heard.Store(now)
}

// ours hands on a message of ours.
func (h *hearing) ours(sub *subscription, payload []byte) {
	m, copied := h.link.feed.cfg.Decode(sub.address, payload)
	// Even when it cannot be read: the copy behind it is of the same message.
	if copied {
		h.copied = sub.alias
	}
	// What cannot be read leaves the protocol intact, so it does not end the connection of all others.
	if m != nil {
		h.link.feed.take(sub, h.link, m)
	}
}

// errLife is a server that is not in the life any more whose channel the connection keeps.
var errLife = errors.New("the server has begun another life")

// informed takes the answer to INFO.
func (h *hearing) informed(text string) error {
	id := ""
	if server.Field(text, "role") == "master" {
		id = server.Field(text, "master_replid")
		n, _ := strconv.Atoi(server.Field(text, "connected_slaves")) // none where it does not say
		h.link.feed.cfg.Saw(id, n)
	}
	switch {
	case h.life.id == id:
		return nil
	case h.life.id != "":
		// Scripts take a subscriber of the old channel for proof of the old life, so it has to go.
		return errLife
	}
	h.life.id = id
	h.link.mu.Lock()
	h.link.want(&want{channel: h.link.feed.cfg.Life(id), use: ofLife})
	h.link.mu.Unlock()
	h.link.signal()
	return nil
}

// uninformed gives the life up: what cannot be asked is not kept. Where it is not permitted it is not asked again.
func (h *hearing) uninformed(text string) {
	l := h.link
	l.mu.Lock()
	l.lifeless = strings.HasPrefix(text, "NOPERM")
	channel := l.feed.cfg.Life(h.life.id)
	if w := l.wanted[channel]; w != nil {
		delete(l.wanted, channel)
		l.ask(request{verb: unsubscribe, channel: channel, want: w})
	}
	l.mu.Unlock()
	h.life.id = ""
	l.signal()
}
