package events

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/hooks"
)

// signatures returns the header webhook-signature: one signature for each secret.
func signatures(secrets []hooks.Secret, id string, at time.Time, body []byte) string {
	all := make([]string, len(secrets))
	for i, s := range secrets {
		all[i] = s.Sign(id, at, body)
	}
	return strings.Join(all, " ")
}

// envelope is the body of a webhook.
type envelope struct {
	Type      string `json:"type"`
	Timestamp string `json:"timestamp"`
	Data      data   `json:"data"`
}

// data is an event in the names that it has over REST.
type data struct {
	ID         string    `json:"id"`
	Position   *position `json:"position,omitempty"`
	Connection string    `json:"connection,omitempty"`
	Client     string    `json:"client,omitempty"`
	User       string    `json:"user,omitempty"`
	Session    string    `json:"session,omitempty"`
	Node       string    `json:"node,omitempty"`
	Address    string    `json:"address,omitempty"`
	MessageID  string    `json:"messageId,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	After      *position `json:"after,omitempty"`
	Missing    uint64    `json:"missing,omitempty,string"`
}

type position struct {
	Epoch  string `json:"epoch"`
	Offset uint64 `json:"offset,string"`
}

func positionOf(p bus.Position) *position {
	if p.IsZero() {
		return nil
	}
	return &position{p.Epoch, p.Offset}
}

// bodyOf returns what a webhook is sent: the event at a position, with after for a gap in the log.
func bodyOf(e bus.Event, at, after bus.Position) []byte {
	b, err := json.Marshal(envelope{
		Type: string(e.Kind), Timestamp: e.Time().UTC().Format("2006-01-02T15:04:05.000Z"),
		Data: data{
			ID: e.ID, Position: positionOf(at), Connection: e.Connection, Client: e.Client, User: e.User, Session: e.Session, Node: e.Node,
			Address: e.Address, MessageID: e.Message, Reason: e.Reason, After: positionOf(after), Missing: e.Missing,
		},
	})
	if err != nil {
		return []byte("{}") // texts and numbers always encode
	}
	return b
}

// batch is the body of several events.
type batch struct {
	Type      string            `json:"type"`
	Timestamp string            `json:"timestamp"`
	Data      []json.RawMessage `json:"data"`
}

// request returns the id and the body of one request. That is the event itself, or several in their order, with an id that is the
// same for the same events.
func request(list []entry, batched bool) (id string, body []byte) {
	if !batched {
		return list[0].id, list[0].body
	}
	b := batch{Type: "batch", Timestamp: list[0].published.UTC().Format("2006-01-02T15:04:05.000Z")}
	ids := []string{"batch"}
	for _, e := range list {
		b.Data = append(b.Data, e.body)
		ids = append(ids, e.id)
	}
	body, err := json.Marshal(b)
	if err != nil {
		return "", []byte("{}") // bodies always encode
	}
	return bus.EventID(ids...), body
}

// entry is one event on its way.
type entry struct {
	id        string
	body      []byte
	at        bus.Position // of the last event that is done with once this one is
	published time.Time
}
