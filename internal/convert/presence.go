package convert

import (
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// PresenceEvent says who came and went, from a message of the kind bus.MessagePresence that was gathered; nil for any other message.
func PresenceEvent(m *bus.Message) *publishv1.PresenceEvent {
	news, err := bus.PresenceNewsOf(m)
	if err != nil {
		return nil
	}
	event := &publishv1.PresenceEvent{
		Address: m.To.String(), Clients: int32(news.Clients), Unlisted: int32(news.Unlisted),
		Changes: make([]*publishv1.PresenceChange, len(news.Changes)),
	}
	for i := range news.Changes {
		event.Changes[i] = presenceChange(&news.Changes[i])
	}
	return event
}

func presenceChange(e *bus.PresenceEvent) *publishv1.PresenceChange {
	kind := publishv1.PresenceChange_KIND_JOINED
	if e.Kind == bus.PresenceLeft {
		kind = publishv1.PresenceChange_KIND_LEFT
	}
	return &publishv1.PresenceChange{
		Kind: kind, Reason: e.Reason, EventTime: Time(e.Time()),
		Member: &publishv1.Member{
			Connection: e.Member.Connection, Client: e.Member.Client, User: e.Member.User, JoinTime: Time(e.Member.Joined),
		},
	}
}
