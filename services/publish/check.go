package publish

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// The limits of labels, which are the same as for attributes.
const (
	maxAttributes     = 32
	maxAttributeKey   = 64
	maxAttributeValue = 1024
)

// describe reads a request: what the caller wants, as the door is asked for it, and what the contract does not allow. The
// door knows the rest.
func (s *Server) describe(caller *rpc.Caller, req *publishv1.PublishRequest) (bus.Request, error) {
	if req == nil {
		return bus.Request{}, bus.ErrFieldInvalid.With("publish: is unset", nil)
	}
	var bad bus.Invalid
	p := bus.Publication{
		Message: bus.Message{
			To: bad.Address("to", req.GetTo()), Data: req.GetData(), ContentType: contentType(req.GetContentType()),
			Attributes: req.GetAttributes(), Recipients: spelled(req.GetRecipients()),
			From: bus.Sender{Client: spelling(req.GetSender().GetClient()), User: spelling(req.GetSender().GetUser())},
		},
		IdempotencyKey: req.GetIdempotencyKey(), Replicas: int(req.GetReplicas()), Retain: bus.AsConfigured,
		TTL: span(req.GetTtl()), Durability: durability(req.GetDurability()), Ack: ackTerms(&bad, req.GetAck()),
	}
	exclude(&bad, &p.Message, caller, req)
	if retain := req.GetRetain(); retain != nil {
		if p.Retain = retain.AsDuration(); retain.CheckValid() != nil || p.Retain < 0 {
			bad.Add("retain", "is not 0, or a duration from 1ms to 720h")
			p.Retain = 0
		}
	}
	if p.IdempotencyKey != "" {
		p.Digest = digest(req, &p)
	}
	id, err := newID(caller.Author(p.Message.From), &p)
	if err != nil {
		return bus.Request{}, err
	}
	p.Message.ID = id
	return bus.Request{Publication: p, Wrong: bad.Fields()}, nil
}

// spelling returns a name in its canonical form. What is no name stays as it is, for the door to refuse.
func spelling(text string) string {
	if name, err := bus.ParseName("name", text); err == nil {
		return name
	}
	return text
}

func spelled(texts []string) []string {
	var names []string
	for _, text := range texts {
		names = append(names, spelling(text))
	}
	return names
}

// contentType reads a content type; JSON when it is not said.
func contentType(t publishv1.ContentType) bus.ContentType {
	switch {
	case t == publishv1.ContentType_CONTENT_TYPE_UNSPECIFIED:
		return bus.JSON
	case t < 0 || t > publishv1.ContentType_CONTENT_TYPE_BINARY:
		return 0 // which the door knows as none
	}
	return bus.ContentType(t)
}

// span reads a duration: 0 where it is not set, and less where it is not a time above 0, which the door refuses.
func span(d *durationpb.Duration) time.Duration {
	switch {
	case d == nil:
		return 0
	case !d.IsValid() || d.AsDuration() <= 0:
		return -1
	}
	return d.AsDuration()
}

// durability reads a durability; an unknown number stays one that the door does not know.
func durability(d publishv1.Durability) bus.Durability {
	if d < 0 || d > publishv1.Durability_DURABILITY_FSYNCED {
		return bus.Fsynced + 1
	}
	return bus.Durability(d)
}

// exclude says who must not have the message: the connection that is named, or the sender.
func exclude(bad *bus.Invalid, m *bus.Message, caller *rpc.Caller, req *publishv1.PublishRequest) {
	client := m.From.Client
	if caller.Identity != nil {
		if req.GetExcludeConnection() != "" {
			bad.Add("exclude_connection", "may only be set with an API key")
		}
		client = caller.Identity.Client
	}
	if len(req.GetExcludeConnection()) > bus.MaxNameLength {
		bad.Add("exclude_connection", "is too long")
	}
	if !req.GetExcludeSender() {
		return
	}
	switch {
	case req.GetExcludeConnection() != "":
		m.ExcludeConnection = req.GetExcludeConnection()
	case client != "":
		m.ExcludeClient = client
	default:
		bad.Add("exclude_sender", "needs a sender: set sender.client")
	}
}

// ackTerms reads the ack policy.
func ackTerms(bad *bus.Invalid, policy *publishv1.AckPolicy) *bus.AckTerms {
	if policy == nil {
		return nil
	}
	terms := &bus.AckTerms{
		Scope: bus.AnyDevice, CollapseKey: policy.GetCollapseKey(), MaxDeliveries: int(policy.GetMaxDeliveries()),
		Timeout: span(policy.GetTimeout()), Keep: span(policy.GetKeep()),
	}
	switch policy.GetScope() {
	case publishv1.AckScope_ACK_SCOPE_UNSPECIFIED, publishv1.AckScope_ACK_SCOPE_ANY_DEVICE:
	case publishv1.AckScope_ACK_SCOPE_EACH_DEVICE:
		terms.Scope = bus.EachDevice
	default:
		terms.Scope = 0 // which the door knows as none
	}
	if name := policy.GetDeadLetter(); name != "" {
		terms.DeadLetter = bad.Address("ack.dead_letter", name)
	}
	return terms
}

// digest is the SHA-256 of everything that makes a request of its author what it is, however its names are spelled. Each part has
// its length in front, so no two requests share one.
func digest(req *publishv1.PublishRequest, p *bus.Publication) string {
	h := sha256.New()
	part(h, []byte(p.Message.To.String()))
	part(h, req.GetData())
	for _, n := range []uint64{
		uint64(req.GetContentType()), uint64(req.GetDurability()),
		uint64(req.GetReplicas()), uint64(req.GetTtl().AsDuration()), bit(req.GetExcludeSender()), uint64(len(req.GetRecipients())),
	} {
		_ = binary.Write(h, binary.BigEndian, n) // a hash never fails
	}
	for _, r := range p.Message.Recipients {
		part(h, []byte(r))
	}
	names := make([]string, 0, len(req.GetAttributes()))
	for k := range req.GetAttributes() {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		part(h, []byte(k))
		part(h, []byte(req.GetAttributes()[k]))
	}
	if ack := req.GetAck(); ack != nil {
		for _, n := range []uint64{
			uint64(ack.GetScope()) + 1, uint64(ack.GetTimeout().AsDuration()), uint64(ack.GetKeep().AsDuration()),
			uint64(ack.GetMaxDeliveries()),
		} {
			_ = binary.Write(h, binary.BigEndian, n) // a hash never fails
		}
		part(h, []byte(ack.GetCollapseKey()))
		part(h, []byte(p.Ack.DeadLetter.String()))
	}
	if retain := req.GetRetain(); retain != nil {
		_ = binary.Write(h, binary.BigEndian, retain.AsDuration()) // a hash never fails
	}
	return hex.EncodeToString(h.Sum(nil))
}

func part(h hash.Hash, b []byte) {
	_ = binary.Write(h, binary.BigEndian, uint64(len(b))) // a hash never fails
	_, _ = h.Write(b)
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
