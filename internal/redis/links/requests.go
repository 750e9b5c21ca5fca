package links

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
)

// requests is what a connection is asked for, what it was asked and has not answered, and what it is wanted for. A channel is wanted,
// then asked for, then open: the server has confirmed it. It stops being open when the connection ends, or when the server ends the
// subscription.
type requests struct {
	cluster bool             // the channels of addresses live where their slots do
	bridges []bus.BridgeRule // raw channels that one connection listens to
	probe   string           // a channel of the connection's own
	lost    prometheus.Counter
	wake    chan struct{}

	mu        sync.Mutex // held for one channel at a time while messages may come
	wanted    map[string]*want
	connected bool
	lifeless  bool      // the server may not be asked about its life
	todo      []request // to be written on this connection
	asked     []request // written and not answered, in their order
	marks     int
}

// want is one channel of a connection.
type want struct {
	channel string
	use     use
	sub     *subscription  // of an address's channels
	rule    bus.BridgeRule // of a bridged channel

	// Guarded by the lock of the requests.
	sent    bool // the server may have the subscription
	refused bool // it has answered with an error
	open    bool // it has confirmed it
	lapsed  bool // messages may have been missed; told at the confirmation
}

// use says what a channel is for.
type use uint8

const (
	ofAddress use = iota
	ofAlias
	ofBridge
	ofProbe
	ofLife
)

// verb is what a connection is asked.
type verb string

const (
	subscribe    verb = "subscribe"
	unsubscribe  verb = "unsubscribe"
	ssubscribe   verb = "ssubscribe"
	sunsubscribe verb = "sunsubscribe"
	info         verb = "info"
	mark         verb = "mark" // leaves a channel that nobody has: its answer comes after those of what was left before
)

// request is one thing that a connection is asked. Channels may share a command.
type request struct {
	verb    verb
	channel string
	want    *want
	last    bool // of its command
}

// chunk is how many channels one command names.
const chunk = 500

// follow asks for the channels of a subscription. What was missed before is told when they are open.
func (q *requests) follow(sub *subscription) {
	q.mu.Lock()
	q.want(&want{channel: sub.channel, use: ofAddress, sub: sub, lapsed: sub.ever.Load()})
	if sub.alias != "" { // the alias is asked for last
		q.want(&want{channel: sub.alias, use: ofAlias, sub: sub, lapsed: sub.ever.Load()})
	}
	q.mu.Unlock()
	q.signal()
}

// leave ends what follow began.
func (q *requests) leave(sub *subscription) {
	q.mu.Lock()
	for _, channel := range sub.channels() {
		if w := q.wanted[channel]; w != nil {
			// From here on its messages are dropped, although the server may go on sending them for a while.
			delete(q.wanted, channel)
			q.ask(request{verb: q.sharded(w, unsubscribe), channel: channel, want: w})
		}
	}
	// Under the lock, so that a confirmation that is just read cannot set it again.
	sub.on.Store(false)
	q.mu.Unlock()
	q.signal()
}

// want asks for a channel. The caller holds the lock.
func (q *requests) want(w *want) {
	q.wanted[w.channel] = w
	q.ask(request{verb: q.sharded(w, subscribe), channel: w.channel, want: w})
}

// ask notes what to write. Without a connection there is nothing to note: the next one begins with all that is wanted. The caller
// holds the lock.
func (q *requests) ask(r request) {
	if q.connected {
		q.todo = append(q.todo, r)
	}
}

// sharded returns the verb by which a channel is asked for. In a Cluster the channels of addresses live where their slots
// do. The others may be of any node's slot, so they are plain channels, which every node has.
func (q *requests) sharded(w *want, v verb) verb {
	switch {
	case !q.cluster || w.use > ofAlias:
		return v
	case v == subscribe:
		return ssubscribe
	}
	return sunsubscribe
}

func (q *requests) signal() {
	select {
	case q.wake <- struct{}{}:
	// The signal that is there is enough: the loop takes all that waits.
	default:
	}
}

// begin asks for everything that is wanted. Aliases come after the channels of the addresses. The probe comes last: when it is
// heard, so is everything before it. The flag bridging says whether this connection listens to the bridged channels.
func (q *requests) begin(bridging bool) {
	q.mu.Lock()
	q.connected, q.lifeless, q.todo, q.asked = true, false, nil, nil
	var own, aliases []*want
	for channel, w := range q.wanted {
		switch w.use {
		case ofAddress:
			own = append(own, w)
		case ofAlias:
			aliases = append(aliases, w)
		case ofBridge, ofProbe, ofLife:
			// These belong to the connection before: the server may be in another life by now.
			delete(q.wanted, channel)
		}
	}
	// They are asked for as they are, because they know whether messages may have been missed.
	for _, w := range append(own, aliases...) {
		q.want(w)
	}
	if bridging {
		q.wantBridges()
	}
	q.want(&want{channel: q.probe, use: ofProbe})
	q.mu.Unlock()
	q.signal()
}

// followBridges asks for the bridged channels on a connection that has begun.
func (q *requests) followBridges() {
	q.mu.Lock()
	if q.connected {
		q.wantBridges()
	}
	q.mu.Unlock()
	q.signal()
}

// wantBridges asks for the bridged channels. The caller holds the lock.
func (q *requests) wantBridges() {
	for _, rule := range q.bridges {
		q.want(&want{channel: rule.Channel, use: ofBridge, rule: rule})
	}
}

// lose notes that the connection has ended.
func (q *requests) lose() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.connected = false
	for _, w := range q.wanted {
		w.sent, w.open = false, false
		if w.sub != nil {
			// An address and its alias share a subscription, which is counted once.
			if w.sub.on.Swap(false) {
				q.lost.Inc()
			}
			// A loss before the confirmation does not end the gap that was there already.
			w.lapsed = w.lapsed || w.sub.ever.Load()
		}
	}
}

// answered takes the request that an answer belongs to: the first that is not answered. What was left is not waited for, so a
// mark in front of a subscription that is confirmed has had an error for an answer.
func (q *requests) answered(v verb, channel string) (request, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := 0
	for v != mark && i < len(q.asked) && q.asked[i].verb == mark {
		i++
	}
	if i == len(q.asked) || q.asked[i].verb != v || channel != "" && q.asked[i].channel != channel {
		return request{}, false
	}
	r := q.asked[i]
	q.forget(i + 1)
	return r, true
}

// forget takes out what is answered. The caller holds the lock.
func (q *requests) forget(n int) {
	if q.asked = q.asked[n:]; len(q.asked) == 0 {
		q.asked = nil
	}
}

// refused takes the requests of the command that an error belongs to. A mark stays: its own answer is still to come.
func (q *requests) refused() []request {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, r := range q.asked {
		if i == 0 && r.verb == mark {
			return q.asked[:1:1]
		}
		if r.want != nil {
			// The server does not have it, so that leaving it needs no command.
			r.want.sent, r.want.refused = false, true
		}
		if r.last || r.verb == info {
			requests := q.asked[: i+1 : i+1]
			q.forget(i + 1)
			return requests
		}
	}
	return nil
}

// open notes that a channel is subscribed. The result missed says whether messages may have been missed before. The result
// current is false when the channel was left, or asked for anew, since.
func (q *requests) open(w *want) (missed, current bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	// The confirmation of an older request must not open what has taken its place.
	if q.wanted[w.channel] != w {
		return false, false
	}
	missed = w.lapsed
	w.open, w.lapsed = true, false
	if w.use == ofAddress {
		w.sub.ever.Store(true)
		w.sub.on.Store(true)
	}
	return missed, true
}

// close notes that the server has ended a subscription, and returns it; nil when it was not open.
func (q *requests) close(channel string) *want {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.wanted[channel]
	if w == nil || !w.open {
		return nil
	}
	// Not sent any more: leaving it now might be answered by an error that belongs to nothing.
	w.open, w.sent, w.lapsed = false, false, true
	if w.sub != nil {
		w.sub.on.Store(false)
	}
	return w
}

func (q *requests) wants(channel []byte) *want {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.wanted[string(channel)]
}

// inquire asks the server about its life.
func (q *requests) inquire() {
	q.mu.Lock()
	// Asking on would only fill the log of refusals that the server keeps.
	if !q.lifeless {
		q.ask(request{verb: info})
	}
	q.mu.Unlock()
	q.signal()
}

// again asks for the bridged channels that were refused.
func (q *requests) again() {
	q.mu.Lock()
	for _, rule := range q.bridges {
		if w := q.wanted[rule.Channel]; w != nil && w.refused {
			w.refused = false
			q.want(w)
		}
	}
	q.mu.Unlock()
	q.signal()
}
