// Package bus is the language of Trunkline: addresses, messages, positions,
// identities, and the contracts that every store fulfils. It imports nothing
// but the standard library, and everybody may import it.
package bus

import (
	"fmt"
	"strings"

	"github.com/trunkline/trunkline/internal/names"
)

// Kind is the first part of an address.
type Kind string

// The kinds of address. System addresses are Trunkline's own: no caller can name one.
const (
	KindClients   Kind = "clients"
	KindUsers     Kind = "users"
	KindGroups    Kind = "groups"
	KindSessions  Kind = "sessions"
	KindChannels  Kind = "channels"
	KindBroadcast Kind = "broadcast"
	KindSystem    Kind = "system"
)

// MaxNameLength is the longest name of a client, user, group, session, channel or topic, in bytes. An escape counts as the one
// byte that it stands for.
const MaxNameLength = names.Max

const topicsInfix = "/topics/"

// Address is a resource name that a message is sent to, such as channels/orders:eu or
// users/42/topics/alerts. It is in its canonical form, spelled the same in the proto, the CLI, the frame and the store.
// The zero Address is no address. Addresses are comparable and safe for concurrent use.
type Address struct{ name string }

// Broadcast is the address of everyone.
var Broadcast = Address{name: string(KindBroadcast)}

// Revoked is the address on which revocations are announced to every edge.
var Revoked = Address{name: "system/revoked"}

// EventLog is the address whose log is the events of hooks; see Event.
var EventLog = Address{name: "system/events"}

// PushClients is the address whose roster is the connections of the older push protocol.
var PushClients = Address{name: "system/pushclients"}

// NewAddress returns the address of the given kind and id, without a topic. The id of a client, user, group or session is read
// by ParseName, and may have a slash or a star. It returns an *Error with ErrAddressInvalid when the id is not a name.
func NewAddress(kind Kind, id string) (Address, error) {
	if kind == KindBroadcast && id == "" {
		return Broadcast, nil
	}
	if !identity(kind) {
		return ParseAddress(string(kind) + "/" + id)
	}
	name, err := ParseName("name", id)
	if err != nil {
		return Address{}, addressError(string(kind)+"/"+id, err)
	}
	return Address{name: string(kind) + "/" + name}, nil
}

// ParseAddress reads an address as a caller wrote it, and returns the canonical one. The name of a client, user, group or session
// is read by ParseName. A slash or a star in it has to be escaped: they mean something else in an address or a pattern.
// It returns an *Error with ErrAddressInvalid that says what is wrong and where.
func ParseAddress(s string) (Address, error) {
	base, topic, hasTopic := strings.Cut(s, topicsInfix)
	if hasTopic {
		if err := CheckName("topic", topic); err != nil {
			return Address{}, addressError(s, err)
		}
	}
	if base == string(KindBroadcast) {
		return Address{name: s}, nil
	}
	kind, id, found := strings.Cut(base, "/")
	if !found || !callable(Kind(kind)) {
		return Address{}, addressError(s, fmt.Errorf(
			"an address is clients/ID, users/ID, groups/ID, sessions/ID, channels/NAME or broadcast, each optionally followed by /topics/TOPIC"))
	}
	name, err := addressName(Kind(kind), id)
	switch {
	case err != nil:
		return Address{}, addressError(s, err)
	case name == id:
		return Address{name: s}, nil
	}
	return Address{name: kind + "/" + name + s[len(base):]}, nil
}

// AddressIn reads the address in a field of a request, as ParseAddress does. Its error names the field.
func AddressIn(field, s string) (Address, error) {
	var bad Invalid
	a := bad.Address(field, s)
	return a, bad.Err()
}

// addressName returns the canonical form of a name in an address.
func addressName(kind Kind, id string) (string, error) {
	if !identity(kind) {
		return id, CheckName("name", id)
	}
	switch i := strings.IndexAny(id, "/*"); {
	case i < 0:
		return ParseName("name", id)
	case id[i] == '/':
		return "", fmt.Errorf("name has a slash at byte %d; write a slash in a name as %%2F", i)
	default:
		return "", fmt.Errorf("name has a star at byte %d; write a star in a name as %%2A", i)
	}
}

// StoredAddress reads an address that a store wrote itself: a canonical one. System addresses are allowed.
func StoredAddress(s string) (Address, error) {
	switch s {
	case Revoked.name:
		return Revoked, nil
	case EventLog.name:
		return EventLog, nil
	case PushClients.name:
		return PushClients, nil
	}
	a, err := ParseAddress(s)
	if err == nil && a.name != s {
		return Address{}, addressError(s, fmt.Errorf("it is not in its canonical form"))
	}
	return a, err
}

// identity says whether the names of a kind are of clients, users, groups or sessions.
func identity(k Kind) bool {
	switch k {
	case KindClients, KindUsers, KindGroups, KindSessions:
		return true
	}
	return false
}

func callable(k Kind) bool { return identity(k) || k == KindChannels }

func addressError(s string, cause error) error {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return ErrAddressInvalid.With(fmt.Sprintf("address %q: %v", s, cause), nil)
}

// CheckName says whether s is the name of a channel or a topic: 1 to 255 bytes of A-Z a-z 0-9 _ . : @ = + -. It begins with a letter or digit, and every
// part between colons has one. what names it in the error.
func CheckName(what, s string) error {
	if s == "" {
		return fmt.Errorf("%s is empty", what)
	}
	if len(s) > MaxNameLength {
		return fmt.Errorf("%s has %d bytes, the limit is %d", what, len(s), MaxNameLength)
	}
	solid := false
	for i := range len(s) {
		c := s[i]
		switch {
		case alphanumeric(c):
			solid = true
		case i == 0:
			return fmt.Errorf("%s begins with %q, it must begin with a letter or digit", what, c)
		case c == ':':
			if !solid {
				return fmt.Errorf("%s has a part without a letter or digit before the colon at byte %d", what, i)
			}
			solid = false
		case !punctuation(c):
			return fmt.Errorf("%s has the byte %q at %d, allowed are A-Z a-z 0-9 _ . : @ = + -", what, c, i)
		}
	}
	if !solid {
		return fmt.Errorf("%s ends with a part without a letter or digit", what)
	}
	return nil
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func punctuation(c byte) bool {
	switch c {
	case '_', '.', '@', '=', '+', '-':
		return true
	}
	return false
}

// String returns the address as it is written everywhere.
func (a Address) String() string { return a.name }

// IsZero says whether a is no address.
func (a Address) IsZero() bool { return a.name == "" }

// Clone returns the address as a copy of its own: its name may be a part of a whole frame.
func (a Address) Clone() Address { return Address{strings.Clone(a.name)} }

// Kind returns the first part.
func (a Address) Kind() Kind {
	kind, _, _ := strings.Cut(a.name, "/")
	return Kind(kind)
}

// ID returns the name after the kind, without the topic; empty for broadcast.
func (a Address) ID() string {
	base, _, _ := strings.Cut(a.name, topicsInfix)
	_, id, _ := strings.Cut(base, "/")
	return id
}

// Topic returns the topic, or an empty string.
func (a Address) Topic() string {
	_, topic, _ := strings.Cut(a.name, topicsInfix)
	return topic
}

// WithoutTopic returns the address that a's topic belongs to.
func (a Address) WithoutTopic() Address {
	base, _, _ := strings.Cut(a.name, topicsInfix)
	return Address{name: base}
}

// Namespace returns the part of a channel's name before the first colon, or the whole name when there is none. It is empty for an
// address that is no channel.
func (a Address) Namespace() string {
	if a.Kind() != KindChannels {
		return ""
	}
	ns, _, _ := strings.Cut(a.ID(), ":")
	return ns
}

// NameOf returns the canonical form of the name of a client, user, group or session. The name is read as its issuer wrote it, in
// a claim of a token. The argument what names it in the error.
func NameOf(what, raw string) (string, error) { return names.Of(what, raw) }

// ParseName returns the canonical form of the name of a client, user, group or session. The name is read as a request wrote it:
// percent-encoded, not encoded, or in part. The argument what names it in the error.
func ParseName(what, text string) (string, error) { return names.Parse(what, text) }

// RawName returns the canonical name as its issuer wrote it.
func RawName(canonical string) string { return names.Raw(canonical) }

// ParseNames is ParseName for several. It notes the bad ones by the field and their index.
func ParseNames(bad *Invalid, field, what string, texts []string) []string {
	if len(texts) == 0 {
		return nil
	}
	list := make([]string, len(texts))
	for i, text := range texts {
		if bad.full() {
			break // of thousands that are wrong nobody reads more
		}
		canonical, err := ParseName(what, text)
		if err != nil {
			bad.Check(fmt.Sprintf("%s[%d]", field, i), err)
		}
		list[i] = canonical
	}
	return list
}

// Name is ParseName for one field of a request. It notes the field when it is no name; an unset one stays so.
func (v *Invalid) Name(field, text string) string {
	if text == "" {
		return ""
	}
	canonical, err := ParseName(field, text)
	v.Check(field, err)
	return canonical
}
