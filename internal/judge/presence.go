package judge

// memberKey is a member of an address.
type memberKey struct{ address, who string }

// member is what the record says of one member.
type member struct {
	changes []change
	looks   []look
}

type change struct {
	at, within int64
	here       bool
}

type look struct {
	since, at int64
	listed    bool
}

func (j *Judge) presence(e Event) {
	key := memberKey{e.Address, e.Who}
	m := j.members[key]
	if m == nil {
		m = &member{}
		j.members[key] = m
	}
	switch e.Kind {
	case Present, Absent:
		m.changes = append(m.changes, change{e.At, e.Within, e.Kind == Present})
	default:
		m.looks = append(m.looks, look{e.Since, e.At, e.Kind == Listed})
	}
}

// judge compares each look with the last change before it. A look that a change overlaps, or that is too early, shows nothing.
func (m *member) judge(key memberKey, v *Verdict) {
	for _, l := range m.looks {
		var last change
		overlaps := false
		for _, c := range m.changes {
			overlaps = overlaps || c.at >= l.since && c.at <= l.at
			if c.at < l.since {
				last = c
			}
		}
		if overlaps || l.since < last.at+last.within || l.listed == last.here {
			continue
		}
		if l.listed {
			v.found(Ghost, 1, "%s of %s is listed %d ms after it left", key.who, key.address, (l.since-last.at)/1000)
		} else {
			v.found(Missing, 1, "%s of %s is not listed %d ms after it came", key.who, key.address, (l.since-last.at)/1000)
		}
	}
}
