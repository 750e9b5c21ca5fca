package publish

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// The limits of a request, as the contract says them.
const (
	maxRecipients     = 1000
	maxAttributes     = 32
	maxAttributeKey   = 64
	maxAttributeValue = 1024
	maxKey            = 128
	maxTTL            = 30 * 24 * time.Hour
)

// publication checks a request at the door and returns what the store is given. All bad fields are
// reported together; the permission is checked when the address is one.
func (s *Server) publication(caller *rpc.Caller, req *publishv1.PublishRequest) (bus.Publication, error) {
	var p bus.Publication
	if req == nil {
		return p, bus.ErrFieldInvalid.With("publish: is unset", nil)
	}
	var bad bus.Invalid
	m := &p.Message
	to, err := bus.ParseAddress(req.GetTo())
	if err != nil {
		bad.Check("to", err)
	} else if err := caller.Check(bus.Publish, to); err != nil {
		return p, err
	}
	m.To = to
	ns := s.cfg.Namespaces.For(to)
	limit := max(s.cfg.MaxMessage, ns.MaxMessage)
	checkData(&bad, m, req, limit)
	checkOptions(&bad, m, req)
	p.Ack = s.checkAck(&bad, to, req)
	checkSender(&bad, m, caller, req)
	p.Retention = ns.Retention
	p.RequireChannel = ns.Explicit
	checkDurability(&bad, &p, req, ns)
	checkRetain(&bad, &p, req, ns)
	if err := bad.Err(); err != nil {
		return p, tooLarge(err, len(req.GetData()), limit)
	}
	if req.GetTtl() != nil {
		p.TTL = req.GetTtl().AsDuration()
	}
	s.schedule(&p, req)
	if p.IdempotencyKey = req.GetIdempotencyKey(); p.IdempotencyKey != "" {
		p.Digest, p.Publisher = digest(req), caller.Publisher()
		p.Window = s.cfg.IdempotencyWindow
	}
	m.ID, err = newID(&p)
	return p, err
}

// tooLarge gives a refusal for nothing but the size its own reason.
func tooLarge(err error, size, limit int) error {
	e := rpc.FromError(err)
	if size <= limit || len(e.Fields) != 1 {
		return err
	}
	large := bus.ErrMessageTooLarge.With(e.Message, map[string]string{"limit": strconv.Itoa(limit), "size": strconv.Itoa(size)})
	large.Fields = e.Fields
	return large
}

func checkData(bad *bus.Invalid, m *bus.Message, req *publishv1.PublishRequest, limit int) {
	m.Data = req.GetData()
	if n := len(m.Data); n > limit {
		bad.Add("data", "has %d bytes, the limit is %d", n, limit)
		return
	}
	switch req.GetContentType() {
	case publishv1.ContentType_CONTENT_TYPE_UNSPECIFIED, publishv1.ContentType_CONTENT_TYPE_JSON:
		m.ContentType = bus.JSON
		if len(m.Data) > 0 && !json.Valid(m.Data) {
			bad.Add("data", "is not JSON; for other bytes set content_type to CONTENT_TYPE_TEXT or CONTENT_TYPE_BINARY")
		}
		// JSON text is UTF-8 (RFC 8259, section 8.1); the decoder lets other bytes in strings pass.
		if !utf8.Valid(m.Data) {
			bad.Add("data", "is not UTF-8")
		}
	case publishv1.ContentType_CONTENT_TYPE_TEXT:
		m.ContentType = bus.Text
		if !utf8.Valid(m.Data) {
			bad.Add("data", "is not UTF-8; for other bytes set content_type to CONTENT_TYPE_BINARY")
		}
	case publishv1.ContentType_CONTENT_TYPE_BINARY:
		m.ContentType = bus.Binary
	default:
		bad.Add("content_type", "is not one of CONTENT_TYPE_JSON, CONTENT_TYPE_TEXT, CONTENT_TYPE_BINARY")
	}
}

func checkOptions(bad *bus.Invalid, m *bus.Message, req *publishv1.PublishRequest) {
	if n := len(req.GetRecipients()); n > 0 {
		if !m.To.IsZero() && m.To.Kind() != bus.KindChannels {
			bad.Add("recipients", "narrow only a channel")
		}
		if n > maxRecipients {
			bad.Add("recipients", "has %d entries, the limit is %d", n, maxRecipients)
		} else {
			for i, r := range req.GetRecipients() {
				if err := bus.CheckName("client", r); err != nil {
					bad.Check(fmt.Sprintf("recipients[%d]", i), err)
				}
			}
		}
		m.Recipients = req.GetRecipients()
	}
	if n := len(req.GetAttributes()); n > maxAttributes {
		bad.Add("attributes", "has %d entries, the limit is %d", n, maxAttributes)
	} else if n > 0 {
		for k, v := range req.GetAttributes() {
			if k == "" || len(k) > maxAttributeKey || len(v) > maxAttributeValue {
				bad.Add("attributes", "the entry %.64q is too long: keys have 1 to %d bytes, values up to %d", k, maxAttributeKey, maxAttributeValue)
			}
		}
		m.Attributes = req.GetAttributes()
	}
	if ttl := req.GetTtl(); ttl != nil {
		if d := ttl.AsDuration(); !ttl.IsValid() || d < time.Millisecond || d > maxTTL {
			bad.Add("ttl", "is %s, allowed are 1ms to %s", d, maxTTL)
		}
	}
	if key := req.GetIdempotencyKey(); key != "" {
		if len(key) > maxKey || !visible(key) {
			bad.Add("idempotency_key", "must be 1 to %d visible ASCII characters", maxKey)
		}
	}
}

func visible(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// checkSender decides who the message is from: a token's sender is its own, a back end may name one.
func checkSender(bad *bus.Invalid, m *bus.Message, caller *rpc.Caller, req *publishv1.PublishRequest) {
	from := req.GetFrom()
	if id := caller.Identity; id != nil {
		if from != nil && (from.GetClient() != id.Client || from.GetUser() != id.User) {
			bad.Add("from", "is set by the server from the token; leave it out")
		}
		if req.GetExcludeConnection() != "" {
			bad.Add("exclude_connection", "may only be set with an API key")
		}
		m.From = bus.Sender{Client: id.Client, User: id.User}
	} else {
		m.From = bus.Sender{Client: from.GetClient(), User: from.GetUser()}
		if m.From.Client != "" {
			bad.Check("from.client", bus.CheckName("client", m.From.Client))
		}
		if m.From.User != "" {
			bad.Check("from.user", bus.CheckName("user", m.From.User))
		}
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
	case m.From.Client != "":
		m.ExcludeClient = m.From.Client
	default:
		bad.Add("exclude_sender", "needs a sender: set from.client")
	}
}

// checkDurability takes the stronger of what the request and the namespace ask for.
func checkDurability(bad *bus.Invalid, p *bus.Publication, req *publishv1.PublishRequest, ns bus.Namespace) {
	keeps := p.Retention.Durable() || p.Ack != nil
	want := bus.Durability(req.GetDurability()) //nolint:gosec // checked next
	switch req.GetDurability() {
	case publishv1.Durability_DURABILITY_UNSPECIFIED, publishv1.Durability_DURABILITY_LIVE:
	case publishv1.Durability_DURABILITY_ACCEPTED, publishv1.Durability_DURABILITY_REPLICATED, publishv1.Durability_DURABILITY_FSYNCED:
		if !keeps {
			bad.Add("durability", "needs an address that keeps history, or an ack; this one is live")
		}
	default:
		bad.Add("durability", "is not one of DURABILITY_LIVE, DURABILITY_ACCEPTED, DURABILITY_REPLICATED, DURABILITY_FSYNCED")
	}
	if n := req.GetReplicas(); n > 0 && (want != bus.Replicated || n > bus.MaxReplicas) {
		bad.Add("replicas", "is %d; allowed are 1 to %d, with DURABILITY_REPLICATED", n, bus.MaxReplicas)
	}
	if p.Durability = max(want, ns.Durability); p.Durability < bus.Replicated {
		p.Durability = 0
	}
	p.Replicas = int(req.GetReplicas())
	if ns.Durability == bus.Replicated {
		p.Replicas = max(p.Replicas, ns.Replicas)
	}
	if p.Durability == bus.Replicated {
		p.Replicas = max(p.Replicas, 1)
	}
}

// checkRetain says how long the message is its address's last one.
func checkRetain(bad *bus.Invalid, p *bus.Publication, req *publishv1.PublishRequest, ns bus.Namespace) {
	p.Retain = ns.Retain
	if req.GetAck() != nil {
		p.Retain = 0 // what asks for an ack is kept in the inbox
	}
	if req.GetRetain() == nil {
		return
	}
	switch d := req.GetRetain().AsDuration(); {
	case req.GetRetain().CheckValid() != nil || d < 0 || d > bus.MaxRetain || d > 0 && d < time.Millisecond:
		bad.Add("retain", "is not 0, or a duration from 1ms to 720h")
	case d > 0 && req.GetAck() != nil:
		bad.Add("retain", "not together with ack")
	default:
		p.Retain = d
	}
}

// digest is the SHA-256 of everything that makes the request what it is, each part with its length in
// front so that no two requests share one.
func digest(req *publishv1.PublishRequest) string {
	h := sha256.New()
	part(h, []byte(req.GetTo()))
	part(h, req.GetData())
	for _, n := range []uint64{
		uint64(req.GetContentType()), uint64(req.GetDurability()), //nolint:gosec // enums
		uint64(req.GetReplicas()), uint64(req.GetTtl().AsDuration()), bit(req.GetExcludeSender()), uint64(len(req.GetRecipients())), //nolint:gosec // checked
	} {
		_ = binary.Write(h, binary.BigEndian, n) // a hash never fails
	}
	for _, r := range req.GetRecipients() {
		part(h, []byte(r))
	}
	part(h, []byte(req.GetFrom().GetClient()))
	part(h, []byte(req.GetFrom().GetUser()))
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
			uint64(ack.GetScope()) + 1, uint64(ack.GetTimeout().AsDuration()), uint64(ack.GetKeep().AsDuration()), //nolint:gosec // checked
			uint64(ack.GetMaxDeliveries()),
		} {
			_ = binary.Write(h, binary.BigEndian, n) // a hash never fails
		}
		part(h, []byte(ack.GetCollapseKey()))
		part(h, []byte(ack.GetDeadLetter()))
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
