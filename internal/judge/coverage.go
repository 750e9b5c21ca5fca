package judge

// covered finds messages of a log that were answered OK and did not come to somebody who follows it.
func (a *address) covered(v *Verdict) {
	for _, r := range a.readers {
		if !r.follows {
			continue
		}
		for _, p := range a.publishes {
			a.missed(r, p, v)
		}
	}
}

func (a *address) missed(r *reader, p *publish, v *Verdict) {
	if p.answered == 0 || len(p.places) == 0 || a.has(r, p) {
		return
	}
	at := p.places[len(p.places)-1]
	behind := a.compare(at, r.began) <= 0
	due := r.finished > 0 && p.answered <= r.finished || a.compare(at, r.last) < 0
	switch {
	case behind || !due || a.within(r, r.skips, at):
	case a.within(r, r.gaps, at):
		v.found(Declared, 1, "%s of %s at %s did not come to %s, which was told a gap", p.key, a.name, at, r.who)
	default:
		v.found(Lost, 1, "%s of %s at %s did not come to %s, which is at %s", p.key, a.name, at, r.who, r.last)
	}
}

// has says whether a message came to a reader, wherever it stood then.
func (a *address) has(r *reader, p *publish) bool {
	for _, at := range p.places {
		if r.got[at.Epoch].has(at.Seq) && a.epochs[at.Epoch].at[at.Seq] == p {
			return true
		}
	}
	return false
}

// within says whether a position is in one of the holes. A hole that ends nowhere reaches to the end of the epoch it begins in.
func (a *address) within(r *reader, holes []hole, at Position) bool {
	for _, h := range holes {
		if a.compare(at, h.from) <= 0 && h.from.Epoch != "" {
			continue
		}
		switch {
		case h.to.Epoch != "" && a.compare(at, h.to) <= 0:
			return true
		case h.to.Epoch == "" && (h.from.Epoch == at.Epoch || r.got[at.Epoch] == nil):
			return true
		}
	}
	return false
}

// emptied finds messages of an inbox that were answered OK and came to none of its devices, or not to each.
func (a *address) emptied(v *Verdict) {
	finished := false
	for _, r := range a.readers {
		finished = finished || r.finished > 0
	}
	for _, p := range a.publishes {
		if p.answered == 0 || !finished {
			continue
		}
		some, told, missing := false, false, ""
		for _, r := range a.readers {
			if _, came := r.came[p.key]; came {
				some = true
				continue
			}
			if r.finished == 0 || p.answered > r.finished {
				missing = ""
				some = some || !a.each
				continue
			}
			missing = r.who
			told = told || len(p.places) > 0 && a.within(r, r.gaps, p.places[len(p.places)-1])
		}
		switch {
		case some && !a.each || missing == "":
		case told:
			v.found(Declared, 1, "%s of %s did not come to %s, which was told a gap", p.key, a.name, missing)
		default:
			v.found(Lost, 1, "%s of %s at %v did not come to %s", p.key, a.name, p.places, missing)
		}
	}
}
