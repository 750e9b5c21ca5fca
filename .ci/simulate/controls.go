package main

// control is a product that is broken on purpose. The machine has to find it.
type control struct {
	name, machine string
	changes       []change
}

// change puts one text in the place of another, which the file has once.
type change struct{ file, old, by string }

const tail, publish, redis, edge = "internal/tail/", "services/publish/", "internal/redis/", "services/edge/"

var controls = []control{
	{"held-for-ever", "tail", []change{
		{tail + "page.go", "if i.look >= l.number {\n\t\t\treturn false\n\t\t}\n\t\tf.stray(i.m)\n\t\treturn true", "return false"},
	}},
	{"no-heal", "tail", []change{
		{tail + "followed.go", "f.hold(m)\n\t\tf.lags = true\n\t\treturn f.next()", "f.hand(m)\n\t\treturn work{}"},
	}},
	{"no-doubt", "tail", []change{
		{tail + "follow.go", "if w := f.suspect(); w.kind == askTop {", "if w := (work{}); w.kind == askTop {"},
	}},
	{"left-epoch", "tail", []change{
		{tail + "followed.go", "_, left := f.leftAt(p.Epoch)\n\treturn left", "return false"},
	}},
	{"half-subscribed", "streams", []change{
		{publish + "follow.go", "r.stop(a)\n\t\treturn err\n\t}\n\treturn nil", "return err\n\t}\n\treturn nil"},
	}},
	{"no-deadline", "streams", []change{
		{publish + "follow.go", "ctx, cancel := context.WithTimeout(ctx, streamCall)\n\tdefer cancel()\n\tpositions", "positions"},
	}},
	// A read that ends in the middle of a value counts as quiet.
	{"partial-reads", "links", []change{
		{redis + "resp/conn.go", "\t\"fmt\"\n", "\t\"errors\"\n\t\"fmt\"\n\t\"os\"\n"},
		{redis + "resp/conn.go", "p.begun, p.end = false, time.Time{}", "p.begun, p.end = true, time.Time{}"},
		{redis + "resp/conn.go", "p.end = time.Now().Add(p.within)", "p.end = time.Now().Add(200 * time.Millisecond)"},
		{redis + "resp/conn.go", "v, err := c.read()\n", "v, err := c.read()\n\tif errors.Is(err, os.ErrDeadlineExceeded) {\n\t\treturn Value{}, err\n\t}\n"},
		{redis + "links/hearing.go", "\t\"log/slog\"\n", "\t\"log/slog\"\n\t\"os\"\n"},
		{redis + "links/hearing.go", "v, err := h.conn.Read()\n", "v, err := h.conn.Read()\n\t\tif errors.Is(err, os.ErrDeadlineExceeded) {\n\t\t\tcontinue\n\t\t}\n"},
	}},
	{"no-interruption", "links", []change{
		{redis + "links/hearing.go", "h.link.feed.interrupted(h.link, h.missed)", "_ = h.missed"},
	}},
	// Whatever is of another epoch counts as newer.
	{"old-epoch-after-new", "sessions", []change{
		{"internal/bus/line.go", ", !own && l.older(to.Epoch):", ":"},
		{"internal/bus/line.go", "to.Offset != l.at.Offset+1, !own && was != l.at.Epoch && from.Epoch != l.at.Epoch,", "own && to.Offset != l.at.Offset+1 && was != \"\","},
	}},
	{"held-is-lost", "sessions", []change{
		{edge + "fan/subscription.go", "if s.missed && !s.line.At().IsZero() {", "if false {"},
	}},
	{"not-held", "sessions", []change{
		{edge + "fan/subscription.go", "s.held = append(s.held, p)", "s.held = s.held[:0]"},
	}},
	// A revocation that comes behind the loss of its log is dropped.
	{"late-revocation", "revocations", []change{
		{"internal/revoked/follower.go", "func (f *Follower) Stray(m *bus.Message) { f.Deliver(m) }", "func (f *Follower) Stray(*bus.Message) {}"},
	}},
	{"no-line", "streams", []change{
		{publish + "follow.go", "switch p.line.Take(i.span()) {", "switch bus.Next {"},
	}},
}
