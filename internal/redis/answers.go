package redis

// answered takes the request that an answer belongs to: the first that is not answered. What was left is not waited for, so a
// mark in front of a subscription that is confirmed has had an error for an answer.
func (l *link) answered(v verb, channel string) (request, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := 0
	for v != mark && i < len(l.asked) && l.asked[i].verb == mark {
		i++
	}
	if i == len(l.asked) || l.asked[i].verb != v || channel != "" && l.asked[i].channel != channel {
		return request{}, false
	}
	r := l.asked[i]
	l.forget(i + 1)
	return r, true
}

// forget takes out what is answered. The caller holds the lock.
func (l *link) forget(n int) {
	if l.asked = l.asked[n:]; len(l.asked) == 0 {
		l.asked = nil
	}
}

// refused takes the requests of the command that an error belongs to. A mark stays: its own answer is still to come.
func (l *link) refused() []request {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range l.asked {
		if i == 0 && r.verb == mark {
			return l.asked[:1:1]
		}
		if r.want != nil {
			r.want.sent, r.want.refused = false, true
		}
		if r.last || r.verb == info {
			requests := l.asked[: i+1 : i+1]
			l.forget(i + 1)
			return requests
		}
	}
	return nil
}

// open notes that a channel is subscribed. missed says whether messages may have been missed before; current is false when it
// was left, or asked for anew, since.
func (l *link) open(w *want) (missed, current bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wanted[w.channel] != w {
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
func (l *link) close(channel string) *want {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.wanted[channel]
	if w == nil || !w.open {
		return nil
	}
	w.open, w.sent, w.lapsed = false, false, true
	if w.sub != nil {
		w.sub.on.Store(false)
	}
	return w
}

func (l *link) wants(channel []byte) *want {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wanted[string(channel)]
}

// inquire asks the server about its life.
func (l *link) inquire() {
	l.mu.Lock()
	if !l.lifeless {
		l.ask(request{verb: info})
	}
	l.mu.Unlock()
	l.signal()
}

// again asks for the bridged channels that were refused.
func (l *link) again() {
	l.mu.Lock()
	for _, rule := range l.feed.store.cfg.Bridges {
		if w := l.wanted[rule.Channel]; w != nil && w.refused {
			w.refused = false
			l.want(w)
		}
	}
	l.mu.Unlock()
	l.signal()
}
