package bus

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
)

// EventKind says what an Event tells.
type EventKind string

// The kinds of event.
const (
	// EventConnected is a session that has opened, and EventDisconnected one that has ended.
	EventConnected    EventKind = "connected"
	EventDisconnected EventKind = "disconnected"
	// EventOccupied is the first member of an address that lists its subscribers, and EventVacated the last one that went.
	EventOccupied EventKind = "occupied"
	EventVacated  EventKind = "vacated"
	// EventStored is a message that nobody acknowledged in time, and EventExpired one that left its inbox without an ack.
	EventStored  EventKind = "stored"
	EventExpired EventKind = "expired"
	// EventGap stands where events of a node are missing, because more came than it could write.
	EventGap EventKind = "gap"
)

// Event is something that happened and that back ends may want to know. As JSON it is the data of a message in the log
// of EventLog. Fields that do not apply are empty.
type Event struct {
	// ID is the same however often the event is written or sent.
	ID   string    `json:"id"`
	Kind EventKind `json:"kind"`
	// Millis is when it happened, in milliseconds since the Unix epoch.
	Millis     int64  `json:"at"`
	Connection string `json:"connection,omitempty"`
	Client     string `json:"client,omitempty"`
	User       string `json:"user,omitempty"`
	Session    string `json:"session,omitempty"`
	Node       string `json:"node,omitempty"`
	Address    string `json:"address,omitempty"`
	Message    string `json:"message,omitempty"`
	Reason     string `json:"reason,omitempty"`
	// Missing is how many events an EventGap stands for.
	Missing uint64 `json:"missing,omitempty"`
}

// Time is when it happened.
func (e Event) Time() time.Time { return time.UnixMilli(e.Millis) }

// EventID returns the id of the event that the parts name: the same for the same parts.
func EventID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return "evt_" + hex.EncodeToString(sum[:16])
}

// eventWindow is how long a repeated event is known to be one. Who has to tell it again does so within seconds.
const eventWindow = 10 * time.Minute

// Publication returns what appends the event to the log; a repeat within minutes appends nothing.
func (e Event) Publication(keep Retention) Publication {
	data, err := json.Marshal(e)
	if err != nil {
		data = []byte("{}") // texts and numbers always encode
	}
	return Publication{
		Message:   Message{ID: e.ID, To: EventLog, Data: data, ContentType: JSON},
		Retention: keep, IdempotencyKey: e.ID, Digest: "event", Window: eventWindow,
	}
}

// EventOf reads the event of a message of the log. It returns ErrInternal when there is none.
func EventOf(m *Message) (Event, error) {
	var e Event
	if err := json.Unmarshal(m.Data, &e); err != nil || e.ID == "" {
		return e, ErrInternal.Wrap(err)
	}
	return e, nil
}
