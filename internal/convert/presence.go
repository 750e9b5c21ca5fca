package convert

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// PresenceEvent says who came or went, from a message of the kind bus.MessagePresence; nil for any other message.
func PresenceEvent(m *bus.Message) *publishv1.PresenceEvent {
	e, err := bus.PresenceOf(m)
	if err != nil {
		return nil
	}
	kind := publishv1.PresenceEvent_KIND_JOINED
	if e.Kind == bus.PresenceLeft {
		kind = publishv1.PresenceEvent_KIND_LEFT
	}
	return &publishv1.PresenceEvent{
		Address: m.To.String(), Kind: kind, Reason: e.Reason, EventTime: timestamppb.New(e.Time()),
		Member: &publishv1.Member{
			Connection: e.Member.Connection, Client: e.Member.Client, User: e.Member.User, JoinTime: timestamppb.New(e.Member.Joined),
		},
	}
}
