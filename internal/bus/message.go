package bus

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// ContentType says what the bytes of a message are. The numbers are the same as in trunkline.publish.v1.ContentType.
type ContentType uint8

// The content types. A store never sees the zero value.
const (
	JSON   ContentType = 1
	Text   ContentType = 2
	Binary ContentType = 3
)

// Durability says how safely a message is kept. The numbers are the same as in trunkline.publish.v1.Durability.
type Durability uint8

// The levels, weakest first.
const (
	Live       Durability = 1
	Accepted   Durability = 2
	Replicated Durability = 3
	Fsynced    Durability = 4
)

// InTime says whether a time can be told to a client: JSON and protobuf know the years 1 to 9999, in UTC.
func InTime(t time.Time) bool { return t.UTC().Year() >= 1 && t.UTC().Year() <= 9999 }

// Position is a place in the log of one address. Offsets of one address and
// epoch are dense from 1. The epoch stands beside the offset because a log that was lost starts again with the same numbers. A
// bare offset would resume in another log and call it recovered.
type Position struct {
	Epoch  string
	Offset uint64
}

// IsZero says whether p is no position at all.
func (p Position) IsZero() bool { return p.Epoch == "" && p.Offset == 0 }

// epochText spells epochs in small letters and digits that are not mistaken for letters.
var epochText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewEpoch returns the epoch of a log that begins: 64 random bits, so that two lives of a log never share one.
func NewEpoch() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return epochText.EncodeToString(b[:])
}

// startMark begins the epochs of beginnings. No other epoch begins with it.
const startMark = "0"

// StartEpoch returns an epoch of a beginning: the position of addresses that nothing was published to yet. name is an epoch.
func StartEpoch(name string) string { return startMark + name }

// IsStart says whether p is where an address begins that nothing was published to yet. The first message there has the offset 1
// and an epoch of its own.
func (p Position) IsStart() bool {
	return p.Offset == 0 && (p.Epoch == "" || strings.HasPrefix(p.Epoch, startMark))
}

// Before says whether q is certainly after p in the log of one address.
func (p Position) Before(q Position) bool {
	return q.Offset > p.Offset && (p.Epoch == q.Epoch || p.IsStart())
}

// Sender is who published a message.
type Sender struct {
	Client string
	User   string
}

// MessageKind says what a message is for.
type MessageKind uint8

// The kinds. Everything but MessageData is Trunkline's own and keeps no position.
const (
	// MessageData is a publisher's message.
	MessageData MessageKind = 0
	// MessageDismissal says that the message of the same id was acknowledged by another device.
	MessageDismissal MessageKind = 1
	// MessagePresence carries a PresenceEvent, which PresenceOf reads.
	MessagePresence MessageKind = 2
	// MessageReceipt hints that the delivery of the message of the same id has changed.
	MessageReceipt MessageKind = 3
	// MessageDeleted says that the channel was deleted: subscriptions of it end, and those that begin later are of a channel
	// of the same name.
	MessageDeleted MessageKind = 4
	// MessageMark is where Feed.Retained has read; its id is the mark. It is for the subscriber that asked, and is never published.
	MessageMark MessageKind = 5
)

// Message is one message on its way. It is immutable once published or
// delivered: many goroutines read the same one.
type Message struct {
	ID          string
	To          Address
	From        Sender
	Data        []byte
	ContentType ContentType
	Attributes  map[string]string

	// Recipients narrows a channel to the connections of these clients; empty for all.
	Recipients []string
	// ExcludeClient and ExcludeConnection must not have it; empty for nobody.
	ExcludeClient     string
	ExcludeConnection string

	// Published is when the store published it, by the store's clock.
	Published time.Time
	// Expires is zero for a message that never expires.
	Expires time.Time
	// Position is zero for a live message, and before the store has accepted it.
	Position Position
	// Redelivered is true when the subscriber may have had it before.
	Redelivered bool
	// Ack is whose ack the publisher waits for; 0 for nobody's.
	Ack AckScope
	// Kind says what it is for.
	Kind MessageKind
}

// Selective says whether some subscribers of the address must not have the message.
func (m *Message) Selective() bool {
	return m.Ack != 0 || m.Kind != MessageData || len(m.Recipients) > 0 || m.ExcludeClient != "" || m.ExcludeConnection != ""
}

// For says whether the connection of the client may have the message.
func (m *Message) For(client, connection string) bool {
	if m.ExcludeClient != "" && m.ExcludeClient == client {
		return false
	}
	if m.ExcludeConnection != "" && m.ExcludeConnection == connection {
		return false
	}
	if len(m.Recipients) == 0 {
		return true
	}
	return slices.Contains(m.Recipients, client)
}

// Expired says whether the message is not worth delivering at the given time any more.
func (m *Message) Expired(now time.Time) bool {
	return !m.Expires.IsZero() && !now.Before(m.Expires)
}

// LogValue leaves the payload and the attributes out of logs.
func (m *Message) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", m.ID), slog.String("to", m.To.String()), slog.Int("bytes", len(m.Data)))
}

// Gap says that messages of an address were missed and cannot be replayed.
type Gap struct {
	Address Address
	// From is the last position that was delivered, and To the one from which delivery goes on.
	From, To Position
	Reason   GapReason
}

// GapReason says why there is a gap, in the words of the wire.
type GapReason string

// The reasons of a gap.
const (
	GapTrimmed    GapReason = "history_trimmed"
	GapEpoch      GapReason = "epoch_changed"
	GapSlow       GapReason = "slow_consumer"
	GapStoreReset GapReason = "store_reset"
	// GapTailUnknown says that the store cannot prove that the end of an epoch survived. Between From and To something that was
	// acknowledged may be missing, or nothing.
	GapTailUnknown GapReason = "tail_unknown"
)

// Author is who publishes. Its idempotency keys are nobody else's, and so are its quotas.
type Author struct {
	// Key names what a back end has shown, such as its API key; empty for a client.
	Key string
	// Sender is the client. With a Key it is who the back end says that the message is from.
	Sender Sender
	// Peer is the network address that a stranger comes from: a caller without a name, where an older protocol is open. It is
	// empty for everybody else. A stranger may have any id, and another one each time, so it is no client that can be counted.
	Peer string
}

// Publisher names whose idempotency keys the author uses. No two authors have the same name.
func (a Author) Publisher() string {
	name := a.Key + "\n" + a.Sender.User + "\n" + a.Sender.Client
	if a.Peer != "" {
		name += "\n" + a.Peer
	}
	return name
}

// Clone returns a message that shares no memory with what it was cut out of, such as a frame or a batch. What is kept for longer
// than a call is such a copy.
func (m *Message) Clone() Message {
	c := *m
	c.ID, c.To, c.From = strings.Clone(m.ID), m.To.Clone(), Sender{strings.Clone(m.From.Client), strings.Clone(m.From.User)}
	c.Data = bytes.Clone(m.Data)
	c.ExcludeClient, c.ExcludeConnection = strings.Clone(m.ExcludeClient), strings.Clone(m.ExcludeConnection)
	c.Attributes, c.Recipients = cloneMap(m.Attributes), cloneAll(m.Recipients)
	return c
}

// cloneMap and cloneAll copy each text, too.
func cloneMap(texts map[string]string) map[string]string {
	if texts == nil {
		return nil
	}
	c := make(map[string]string, len(texts))
	for name, value := range texts {
		c[strings.Clone(name)] = strings.Clone(value)
	}
	return c
}

func cloneAll(texts []string) []string {
	c := slices.Clone(texts)
	for i := range c {
		c[i] = strings.Clone(c[i])
	}
	return c
}
