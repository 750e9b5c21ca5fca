package facility

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// protocol is the name in settings, metrics and questions to the authorizer.
const protocol = "facility"

// Names are the names under which the older system knows the addresses of audiences. They are broadcast:F, group:G:F, user:U:F
// and session:K:F, behind the prefix and a colon if there is one. In the older system a user "a:b" in the facility "c" is the
// user "a" in the facility "b:c". Here a user, group or session with a colon has no such name, so that nobody is taken for
// somebody else. Nor have names that are known by a digest alone.
type Names struct{ prefix string }

// NewNames returns the names behind a prefix.
func NewNames(prefix string) Names {
	if prefix != "" {
		prefix += ":"
	}
	return Names{prefix}
}

// checkPrefix refuses a prefix that no program of the older system has: a name in Redis with spaces is a mistake.
func checkPrefix(prefix string) error {
	if !utf8.ValidString(prefix) || strings.ContainsFunc(prefix, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return fmt.Errorf("prefix: %q has spaces or control characters", prefix)
	}
	return nil
}

// Name returns the name of an address; false when it has none.
func (n Names) Name(a bus.Address) (string, bool) { return nameOf(n.prefix, a) }

// Address returns the address that has a name; false when there is none.
func (n Names) Address(name string) (bus.Address, bool) {
	rest, ok := strings.CutPrefix(name, n.prefix)
	if !ok {
		return bus.Address{}, false
	}
	a, ok := addressOf(rest)
	if !ok {
		return a, false
	}
	back, ok := n.Name(a)
	return a, ok && back == name
}

// audience is the name of an address in Redis: a channel of bare data, and a key with the last of it.
type audience struct {
	name string
	to   bus.Address
}

func (a audience) Channel() string { return a.name }

func (audience) Keeps() bool { return true }

// Copy leaves out changes of states, of which older programs know nothing.
func (audience) Copy(m *bus.Message) ([]byte, bool) {
	_, state := m.Attributes[bus.StateRevision]
	return m.Data, !state
}

func (a audience) Map(data []byte) (*bus.Message, bool) {
	m := &bus.Message{ID: uuid.Must(uuid.NewV7()).String(), To: a.to, Data: data, ContentType: bus.Text}
	if !utf8.Valid(data) {
		m.ContentType = bus.Binary
	}
	return m, true
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
	who := dialect.IdentityText(a.ID())
	ok2 := dialect.Identity(who) == a.ID()
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
		base = kind + "s/" + dialect.Identity(who)
	}
	a, err := bus.ParseAddress(base + "/topics/" + dialect.Name(rest))
	return a, err == nil
}
