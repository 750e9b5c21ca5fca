package main

// control is a product that is broken on purpose. The machine has to find it.
type control struct {
	name, machine string
	changes       []change
}

// change puts one text in the place of another, which the file has once.
type change struct{ file, old, by string }

const tail, publish = "internal/tail/", "services/publish/"

var controls = []control{
	{"held-for-ever", "tail", []change{
		{tail + "page.go", "f.held.drop(func(i item) bool { return i.look < l.number })", ""},
	}},
	{"no-heal", "tail", []change{
		{tail + "followed.go", "f.hold(m)\n\t\tf.lags = true\n\t\treturn f.next()", "f.hand(m)\n\t\treturn work{}"},
	}},
	{"no-doubt", "tail", []change{
		{tail + "follow.go", "if w := f.suspect(); w.kind == askTop {", "if w := (work{}); w.kind == askTop {"},
	}},
	{"left-epoch", "tail", []change{
		{tail + "followed.go", "return !f.left.IsStart() && p.Epoch == f.left.Epoch", "return false"},
	}},
	{"half-subscribed", "streams", []change{
		{publish + "follow.go", "r.stop(a)\n\t\treturn err\n\t}\n\treturn nil", "return err\n\t}\n\treturn nil"},
	}},
	{"no-deadline", "streams", []change{
		{publish + "follow.go", "ctx, cancel := context.WithTimeout(ctx, streamCall)\n\tdefer cancel()\n\tpositions", "positions"},
	}},
	{"no-line", "streams", []change{
		{publish + "follow.go", "switch p.line.Take(i.span()) {", "switch bus.Next {"},
	}},
}
