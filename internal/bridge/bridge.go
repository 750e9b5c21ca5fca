// Package bridge maps the records that other programs send on channels of Redis to messages, and back.
package bridge

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
)

// Rule is one channel.
type Rule struct {
	// Channel is its name in Redis; a name, never a pattern.
	Channel string
	// To is the address that its records are for. With JSON it may have members of the record in braces, such as
	// users/{user}/topics/{kind}.
	To string
	// Both also sends what is published to To as records on the channel. To must have no members then.
	Both bool
	// JSON reads records as JSON objects. Otherwise a record is the payload as it is.
	JSON bool
	// Data is the member that is the payload, and Sender the one that names the sender's client; with JSON. The
	// whole record and nobody when empty.
	Data, Sender string
}

// Bridge maps the records of one channel. It is immutable and may be used concurrently.
type Bridge struct {
	rule Rule
	to   bus.Address // zero when it depends on the record
	text []string    // of To, between members
	keys []string    // the members
}

var _ bus.Alias = (*Bridge)(nil)

// New checks a rule.
func New(r Rule) (*Bridge, error) {
	b := &Bridge{rule: r}
	switch {
	case r.Channel == "" || len(r.Channel) > 512:
		return nil, fmt.Errorf("channel has %d bytes, allowed are 1 to 512", len(r.Channel))
	case strings.ContainsAny(r.Channel, "*?[]"):
		return nil, fmt.Errorf("channel %q looks like a pattern; name each channel", r.Channel)
	case !r.JSON && (r.Data != "" || r.Sender != ""):
		return nil, errors.New("data and sender need format: json")
	}
	rest := r.To
	for {
		before, after, found := strings.Cut(rest, "{")
		b.text = append(b.text, before)
		if !found {
			break
		}
		key, next, closed := strings.Cut(after, "}")
		if !closed || key == "" {
			return nil, fmt.Errorf("to %q has a brace without a member's name and a closing brace", r.To)
		}
		b.keys = append(b.keys, key)
		rest = next
	}
	if len(b.keys) == 0 {
		a, err := bus.ParseAddress(r.To)
		b.to = a
		return b, err
	}
	switch {
	case !r.JSON:
		return nil, fmt.Errorf("to %q has members of the record, which needs format: json", r.To)
	case r.Both:
		return nil, fmt.Errorf("to %q has members of the record; direction: both needs one address", r.To)
	}
	_, err := bus.ParseAddress(b.fill(func(string) string { return "x" }))
	return b, err
}

func (b *Bridge) fill(value func(key string) string) string {
	var s strings.Builder
	for i, t := range b.text {
		s.WriteString(t)
		if i < len(b.keys) {
			s.WriteString(value(b.keys[i]))
		}
	}
	return s.String()
}

// Channel returns the channel in Redis.
func (b *Bridge) Channel() string { return b.rule.Channel }

// To returns the address; the zero address when it depends on the record.
func (b *Bridge) To() bus.Address { return b.to }

// Both says whether messages are sent on the channel too.
func (b *Bridge) Both() bool { return b.rule.Both }

// Map returns the message of a record; false when it is for nobody.
func (b *Bridge) Map(record []byte) (*bus.Message, bool) {
	m := &bus.Message{To: b.to, Data: record, Published: time.Now()}
	if b.rule.JSON && !b.read(record, m) {
		return nil, false
	}
	if !b.rule.JSON {
		m.ContentType = kind(record)
	}
	id, err := uuid.NewV7()
	m.ID = id.String()
	return m, err == nil
}

// kind is what bytes look like.
func kind(data []byte) bus.ContentType {
	switch {
	case !utf8.Valid(data):
		return bus.Binary
	case json.Valid(data):
		return bus.JSON
	}
	return bus.Text
}

// read reads a JSON object.
func (b *Bridge) read(record []byte, m *bus.Message) bool {
	var members map[string]json.RawMessage
	if !utf8.Valid(record) || json.Unmarshal(record, &members) != nil || members == nil {
		return false
	}
	m.ContentType = bus.JSON
	if b.rule.Data != "" {
		var there bool
		if m.Data, there = members[b.rule.Data]; !there {
			return false
		}
	}
	if b.rule.Sender != "" {
		m.From.Client, _ = bus.NameOf("sender", text(members[b.rule.Sender])) // what is no name is nobody's
	}
	if len(b.keys) == 0 {
		return true
	}
	to, err := bus.ParseAddress(b.fill(func(key string) string {
		// A member is one name: it cannot become another part of the address.
		if name, err := bus.NameOf(key, text(members[key])); err == nil {
			return name
		}
		return "/"
	}))
	m.To = to
	return err == nil
}

// text is a string, or a number as it is written; otherwise nothing.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

// Keeps returns false: a bridged channel is no key.
func (b *Bridge) Keeps() bool { return false }

// Copy returns the record of a message, of every one.
func (b *Bridge) Copy(m *bus.Message) ([]byte, bool) { return b.record(m), true }

func (b *Bridge) record(m *bus.Message) []byte {
	if !b.rule.JSON {
		return m.Data
	}
	data := m.Data
	switch {
	case m.ContentType == bus.Text:
		data = quote(string(m.Data))
	case m.ContentType == bus.Binary:
		data = quote(base64.StdEncoding.EncodeToString(m.Data))
	case len(data) == 0:
		data = []byte("null")
	}
	if b.rule.Data == "" {
		return data
	}
	members := map[string]json.RawMessage{b.rule.Data: data}
	if b.rule.Sender != "" && m.From.Client != "" {
		members[b.rule.Sender] = quote(bus.RawName(m.From.Client))
	}
	record, err := json.Marshal(members) // members in the order of their names
	if err != nil {
		return data // payloads of type JSON are checked when they are published
	}
	return record
}

func quote(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string always encodes
	return b
}
