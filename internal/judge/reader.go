package judge

import (
	"cmp"
	"slices"
)

// reader is one subscriber of one address, over all its sessions.
type reader struct {
	who      string
	app      bool
	sessions map[string]*sitting
	began    Position
	follows  bool
	finished int64
	last     Position
	got      map[string]*spans // by epoch
	left     []string          // epochs that it has gone on from
	gaps     []hole
	skips    []hole // what it did not ask for
	came     map[string]int64
}

// sitting is a reader in one session.
type sitting struct {
	from    Position // nothing up to here may come
	since   int64
	resumed bool
	keys    map[string]bool // of an inbox
	last    Position        // of an inbox
}

// hole is what lies behind one position, up to another one. Without an epoch, that is all up to what came next.
type hole struct{ from, to Position }

func (a *address) reader(who string) *reader {
	r := a.readers[who]
	if r == nil {
		r = &reader{who: who, sessions: map[string]*sitting{}, got: map[string]*spans{}, came: map[string]int64{}}
		a.readers[who] = r
	}
	return r
}

// subscribe begins a sitting.
func (r *reader) subscribe(a *address, e Event) {
	a.see(e.Position.Epoch, e.At)
	r.app = r.app || e.App
	s := &sitting{since: cmp.Or(e.Since, e.At), resumed: e.Resumed, keys: map[string]bool{}}
	switch {
	case e.Resumed:
		a.see(e.From.Epoch, e.At)
		s.from = e.From
		if !r.follows {
			r.began, r.last = e.From, e.From
		}
	default:
		s.from = e.Position
		if r.follows {
			r.skips = append(r.skips, hole{r.last, e.Position})
		} else {
			r.began = e.Position
		}
		r.step(e.Position)
	}
	r.follows = true
	r.sessions[e.Session] = s
}

// step goes on to a position.
func (r *reader) step(to Position) {
	if to.Epoch != r.last.Epoch && r.last.Epoch != "" && !slices.Contains(r.left, r.last.Epoch) {
		r.left = append(r.left, r.last.Epoch)
	}
	r.last = to
}

// gap notes that messages are missing.
func (r *reader) gap(e Event) {
	r.gaps = append(r.gaps, hole{e.From, e.Position})
	if e.Position.Epoch != "" {
		r.step(e.Position)
	}
}

// deliver judges a message that came, as far as the order of the reader shows it.
func (j *Judge) deliver(a *address, r *reader, e Event) {
	a.see(e.Position.Epoch, e.At)
	p := a.publish(e.Key)
	a.stands(p, e)
	p.came++
	if p.digests == nil {
		p.digests = map[string]int{}
	}
	p.digests[e.Digest]++
	switch {
	case e.Redelivered:
	case p.answered == 0: // it came sooner than the answer
		j.v.Delay.note(0)
	default:
		j.v.Delay.note(max(e.At-p.answered, 0))
	}
	if end, ok := j.ends[e.Session]; ok && e.At > end.At+end.Within {
		a.afterEnds = append(a.afterEnds, afterEnd{p, end, e.At})
	}
	s := r.sessions[e.Session]
	if s == nil || e.Origin != "" && e.Origin != a.name {
		j.v.found(Leaked, 1, "%s came to %s on %s, of %q", e.Key, r.who, a.name, e.Origin)
		return
	}
	switch {
	case e.Inbox:
		j.handed(a, r, s, p, e)
	case e.Position.Epoch != "":
		j.followedOn(a, r, s, e)
	}
}

// followedOn judges a message of a log.
func (j *Judge) followedOn(a *address, r *reader, s *sitting, e Event) {
	if r.app {
		if _, again := r.came[e.Key]; again {
			j.v.found(Twice, 1, "%s of %s was given to the application of %s again at %s", e.Key, a.name, r.who, e.Position)
		}
		r.came[e.Key] = e.At
	}
	if !s.resumed && e.Position.Epoch == s.from.Epoch && e.Position.Seq <= s.from.Seq {
		j.v.found(Leaked, 1, "%s of %s came to %s, which follows it from %s on", e.Key, a.name, r.who, s.from)
	}
	got := r.got[e.Position.Epoch]
	if got == nil {
		got = &spans{}
		r.got[e.Position.Epoch] = got
	}
	switch {
	case !got.add(e.Position.Seq):
		j.v.found(Doubled, 1, "%s of %s at %s came to %s again, in session %s", e.Key, a.name, e.Position, r.who, e.Session)
		return
	case slices.Contains(r.left, e.Position.Epoch):
		j.v.found(Reordered, 1, "%s of %s at %s came to %s after %s", e.Key, a.name, e.Position, r.who, r.last)
		return
	case e.Position.Epoch == r.last.Epoch && e.Position.Seq <= r.last.Seq:
		j.v.found(Reordered, 1, "%s of %s at %s came to %s after %s", e.Key, a.name, e.Position, r.who, r.last)
		return
	}
	r.step(e.Position)
}

// handed judges a message of an inbox.
func (j *Judge) handed(a *address, r *reader, s *sitting, p *publish, e Event) {
	_, before := r.came[e.Key]
	switch {
	case s.keys[e.Key]:
		j.v.found(Doubled, 1, "%s of %s came twice in session %s of %s", e.Key, a.name, e.Session, r.who)
		return
	case before && !e.Redelivered:
		j.v.found(Doubled, 1, "%s of %s came to %s again without the mark", e.Key, a.name, r.who)
	case e.Position.Epoch == s.last.Epoch && e.Position.Seq <= s.last.Seq:
		j.v.found(Reordered, 1, "%s of %s at %s came to %s after %s", e.Key, a.name, e.Position, r.who, s.last)
	}
	if r.app && before {
		j.v.found(Twice, 1, "%s of %s was given to the application of %s again", e.Key, a.name, r.who)
	}
	for who, at := range p.acked {
		if (who == r.who || !a.each) && at < s.since {
			j.v.found(AfterAck, 1, "%s of %s came to %s in a session that began %d ms after its ack", e.Key, a.name, r.who, (s.since-at)/1000)
		}
	}
	s.keys[e.Key], s.last = true, e.Position
	r.came[e.Key] = e.At
}
