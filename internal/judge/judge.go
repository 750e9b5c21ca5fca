package judge

import "time"

// Judge takes the events of a record and says what they show. It is used by one goroutine.
//
// What it keeps grows with the publishes, and not with the deliveries: positions that came are kept as spans.
type Judge struct {
	v         Verdict
	addresses map[string]*address
	ends      map[string]Event // by session
	members   map[memberKey]*member

	answers, deliveries pause
}

// New returns a judge that has seen nothing.
func New() *Judge {
	return &Judge{
		v:         Verdict{Reasons: map[string]int{}},
		addresses: map[string]*address{}, ends: map[string]Event{}, members: map[memberKey]*member{},
	}
}

// Add takes the next event.
func (j *Judge) Add(e Event) {
	switch e.Kind {
	case Ends:
		j.ends[e.Session] = e
	case Present, Absent, Listed, Unlisted:
		j.presence(e)
	case Sent, Answered, Refused, Unknown:
		j.published(e)
	default:
		j.followed(e)
	}
}

func (j *Judge) address(name string) *address {
	a := j.addresses[name]
	if a == nil {
		a = &address{name: name, publishes: map[string]*publish{}, epochs: map[string]*epoch{}, readers: map[string]*reader{}}
		j.addresses[name] = a
	}
	return a
}

// published takes what a publisher did.
func (j *Judge) published(e Event) {
	a := j.address(e.Address)
	p := a.publish(e.Key)
	switch e.Kind {
	case Sent:
		j.v.Sent++
		p.sent, p.digest, p.known = e.At, e.Digest, true
		a.inbox, a.each = a.inbox || e.Inbox, a.each || e.EachDevice
	case Answered:
		j.v.OK++
		if e.Repeat {
			j.v.Repeats++
		}
		j.answers.at(e.At)
		if p.answered == 0 || e.At < p.answered {
			p.answered = e.At
		}
		a.stands(p, e)
	case Refused:
		j.v.Refused++
		p.refused = e.Reason
	case Unknown:
		p.unknown = e.Reason
	}
}

// followed takes what a subscriber did or saw.
func (j *Judge) followed(e Event) {
	a := j.address(e.Address)
	r := a.reader(e.Who)
	switch e.Kind {
	case Subscribed:
		if e.Resumed {
			j.v.Resumes++
		}
		if e.Resumed && !e.Recovered && e.From.Epoch != "" {
			j.v.Unrecovered++
		}
		r.subscribe(a, e)
	case Unsubscribed:
		delete(r.sessions, e.Session)
	case Delivered:
		j.v.Delivered++
		j.deliveries.at(e.At)
		j.deliver(a, r, e)
	case Gap:
		j.v.Gaps++
		j.v.Reasons[e.Reason]++
		a.see(e.Position.Epoch, e.At)
		r.gap(e)
	case Acked:
		if p := a.publish(e.Key); p.acked == nil {
			p.acked = map[string]int64{e.Who: e.At}
		} else {
			p.acked[e.Who] = e.At
		}
	case Finished:
		r.finished = e.At
	}
}

// Verdict says what the events show.
func (j *Judge) Verdict() Verdict {
	for _, a := range j.addresses {
		a.order()
		a.placed(&j.v)
		a.shown(&j.v)
		a.inverted(&j.v)
		a.late(&j.v)
		if a.inbox {
			a.emptied(&j.v)
		} else {
			a.covered(&j.v)
		}
	}
	for key, m := range j.members {
		m.judge(key, &j.v)
	}
	j.v.Silence, j.v.Stillness = j.answers.longest(), j.deliveries.longest()
	return j.v
}

// pause finds the longest time between two events.
type pause struct{ last, most int64 }

func (p *pause) at(us int64) {
	if p.last > 0 {
		p.most = max(p.most, us-p.last)
	}
	p.last = max(p.last, us)
}

func (p *pause) longest() time.Duration { return time.Duration(p.most) * time.Microsecond }
