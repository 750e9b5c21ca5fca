package convert

import (
	"unicode/utf8"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// PositionProto returns a position as clients see it; nil for the zero one, which is no position.
func PositionProto(p bus.Position) *publishv1.Position {
	if p.IsZero() {
		return nil
	}
	return &publishv1.Position{Epoch: p.Epoch, Offset: p.Offset}
}

// Position is the reverse of PositionProto.
func Position(p *publishv1.Position) bus.Position {
	return bus.Position{Epoch: p.GetEpoch(), Offset: p.GetOffset()}
}

// Begin returns the position after which a replay begins. That is the one that was asked for, or the start of the log that stands at
// another position.
func Begin(after, at bus.Position) bus.Position {
	if after.IsZero() {
		return bus.Position{Epoch: at.Epoch}
	}
	return after
}

// GapProto returns a gap as clients see it.
func GapProto(g bus.Gap) *publishv1.Gap {
	return &publishv1.Gap{
		Address: g.Address.String(), After: PositionProto(g.From), To: PositionProto(g.To), Reason: string(g.Reason),
	}
}

// MessageProto returns a message as subscribers see it.
func MessageProto(m *bus.Message) *publishv1.Message {
	p := &publishv1.Message{
		Id: m.ID, To: m.To.String(), Data: m.Data, ContentType: publishv1.ContentType(m.ContentType),
		Attributes: m.Attributes, PublishTime: Time(m.Published), Position: PositionProto(m.Position),
		Redelivered: m.Redelivered, AckRequired: m.Ack != 0,
	}
	if m.From != (bus.Sender{}) {
		p.Sender = &publishv1.Sender{Client: m.From.Client, User: m.From.User}
	}
	p.ExpireTime = Time(m.Expires)
	return p
}

// Encodes says whether gRPC can send a message. A text that is not UTF-8 would end the stream, and each later one at the same message.
func Encodes(p *publishv1.Message) bool {
	for name, value := range p.GetAttributes() {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return false
		}
	}
	for _, text := range [...]string{p.GetId(), p.GetTo(), p.GetSender().GetClient(), p.GetSender().GetUser(), p.GetPosition().GetEpoch()} {
		if !utf8.ValidString(text) {
			return false
		}
	}
	return true
}
