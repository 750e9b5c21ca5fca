package facility

import (
	"strings"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Names returns the names under which the older system knows the addresses of audiences: broadcast:F, group:G:F, user:U:F and
// session:K:F, behind the prefix and a colon if there is one. There a user "a:b" in the facility "c" is the user "a" in the
// facility "b:c"; here a user, group or session with a colon has no such name, so that nobody is taken for somebody else. Nor
// have names that are known by a digest alone.
func Names(prefix string) *bus.NameRule {
	if prefix != "" {
		prefix += ":"
	}
	return &bus.NameRule{
		Name: func(a bus.Address) (string, bool) { return nameOf(prefix, a) },
		Address: func(name string) (bus.Address, bool) {
			rest, ok := strings.CutPrefix(name, prefix)
			if !ok {
				return bus.Address{}, false
			}
			a, ok := addressOf(rest)
			if !ok {
				return a, false
			}
			back, ok := nameOf(prefix, a)
			return a, ok && back == name
		},
	}
}

// kinds are the audiences by the kind of their address.
var kinds = map[bus.Kind]string{bus.KindGroups: "group", bus.KindUsers: "user", bus.KindSessions: "session"}

func nameOf(prefix string, a bus.Address) (string, bool) {
	if a.Topic() == "" {
		return "", false
	}
	facility, ok := textOf(a.Topic())
	if !ok {
		return "", false
	}
	if a.Kind() == bus.KindBroadcast {
		return prefix + "broadcast:" + facility, true
	}
	kind, ok := kinds[a.Kind()]
	who, ok2 := textOf(a.ID())
	if !ok || !ok2 || who == "" || strings.Contains(who, ":") {
		return "", false
	}
	return prefix + kind + ":" + who + ":" + facility, true
}

// textOf returns the text that a name stands for; false when it stands for none.
func textOf(name string) (string, bool) {
	text := dialect.TextOf(name)
	return text, dialect.Name(text) == name
}

func addressOf(rest string) (bus.Address, bool) {
	kind, rest, ok := strings.Cut(rest, ":")
	if !ok {
		return bus.Address{}, false
	}
	base := "broadcast"
	if kind != base {
		var who string
		if who, rest, ok = strings.Cut(rest, ":"); !ok {
			return bus.Address{}, false
		}
		base = kind + "s/" + dialect.Name(who)
	}
	a, err := bus.ParseAddress(base + "/topics/" + dialect.Name(rest))
	return a, err == nil
}
