package bus

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The limits of a publication, as the contract says them.
const (
	maxRecipients     = 1000
	maxAttributes     = 32
	maxAttributeKey   = 64
	maxAttributeValue = 1024
	maxTTL            = 30 * 24 * time.Hour
	minAckTimeout     = 100 * time.Millisecond
	maxAckTimeout     = time.Hour
	minKeep           = time.Second
	maxKeep           = 30 * 24 * time.Hour
	maxDeliveries     = 1000
)

// MaxKey is how long an idempotency key may be, and a collapse key.
const MaxKey = 128

// check reports everything that is wrong with the form of a publication, and sets what follows from the caller and the
// configuration.
func (d *Door) check(who Caller, p *Publication, wrong []FieldViolation) error {
	bad := Invalid{fields: wrong}
	if p.Message.To.IsZero() && len(wrong) == 0 {
		bad.Add("to", "is unset")
	}
	limit := d.Limit(p.Message.To)
	checkData(&bad, &p.Message, limit)
	checkOptions(&bad, p)
	p.Ack = d.checkAck(&bad, p)
	checkSender(&bad, &p.Message, who)
	if p.IdempotencyKey != "" {
		p.Publisher = who.Author(p.Message.From).Publisher()
	}
	checkDurability(&bad, p, d.cfg.Namespaces.For(p.Message.To))
	d.settle(p)
	checkRetain(&bad, p)
	if err := bad.Err(); err != nil {
		return sized(err, len(p.Message.Data), limit)
	}
	return nil
}

// settle sets how the publication is kept: what its namespace says, or more where it asks for more.
func (d *Door) settle(p *Publication) {
	ns := d.cfg.Namespaces.For(p.Message.To)
	p.Retention, p.RequireChannel = ns.Retention, p.RequireChannel || ns.Explicit
	if ns.Durability == Replicated {
		p.Replicas = max(p.Replicas, ns.Replicas)
	}
	switch p.Durability = max(p.Durability, ns.Durability); {
	case p.Durability < Replicated:
		p.Durability = 0
	case p.Durability == Replicated:
		p.Replicas = max(p.Replicas, 1)
	}
	if p.Retain == AsConfigured {
		if p.Retain = ns.Retain; p.Ack != nil {
			p.Retain = 0 // what asks for an ack is kept in the inbox
		}
	}
	if p.Ack != nil {
		p.Message.Ack, p.Retention = p.Ack.Scope, Retention{} // in the inbox
	}
	if p.IdempotencyKey != "" && p.Window <= 0 {
		p.Window = d.cfg.Window
	}
}

// sized gives a refusal for nothing but the size its own reason.
func sized(err error, size, limit int) error {
	var e *Error
	if size <= limit || !errors.As(err, &e) || len(e.Fields) != 1 {
		return err
	}
	large := tooLarge(e.Message, size, limit)
	large.Fields = e.Fields
	return large
}

func tooLarge(sentence string, size, limit int) *Error {
	return ErrMessageTooLarge.With(sentence, map[string]string{"limit": strconv.Itoa(limit), "size": strconv.Itoa(size)})
}

func checkData(bad *Invalid, m *Message, limit int) {
	if n := len(m.Data); n > limit {
		bad.Add("data", "has %d bytes, the limit is %d", n, limit)
		return
	}
	switch m.ContentType {
	case JSON:
		if TooDeep(m.Data) {
			bad.Add("data", tooDeep, MaxDepth)
		} else if len(m.Data) > 0 && !json.Valid(m.Data) {
			bad.Add("data", "is not JSON; for other bytes set content_type to CONTENT_TYPE_TEXT or CONTENT_TYPE_BINARY")
		}
		// JSON text is UTF-8 (RFC 8259, section 8.1); the decoder lets other bytes in strings pass.
		if !utf8.Valid(m.Data) {
			bad.Add("data", "is not UTF-8")
		}
	case Text:
		if !utf8.Valid(m.Data) {
			bad.Add("data", "is not UTF-8; for other bytes set content_type to CONTENT_TYPE_BINARY")
		}
	case Binary:
	default:
		bad.Add("content_type", "is not one of CONTENT_TYPE_JSON, CONTENT_TYPE_TEXT, CONTENT_TYPE_BINARY")
	}
}

// MaxDepth is how deep the objects and arrays of a JSON payload may nest. The readers of some languages end at a few hundred.
const MaxDepth = 64

const tooDeep = "nests deeper than %d"

// CheckDepth notes the field when the JSON in it nests too deep.
func (v *Invalid) CheckDepth(field string, data []byte) {
	if TooDeep(data) {
		v.Add(field, tooDeep, MaxDepth)
	}
}

// TooDeep says whether JSON nests deeper than MaxDepth. Of other bytes the answer means nothing.
func TooDeep(data []byte) bool {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			if depth++; depth > MaxDepth {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

func checkOptions(bad *Invalid, p *Publication) {
	checkRecipients(bad, &p.Message)
	if n := len(p.Message.Attributes); n > maxAttributes {
		bad.Add("attributes", "has %d entries, the limit is %d", n, maxAttributes)
	} else {
		for k, v := range p.Message.Attributes {
			switch {
			case k == "" || len(k) > maxAttributeKey || len(v) > maxAttributeValue:
				bad.Add("attributes", "the entry %.64q is too long: keys have 1 to %d bytes, values up to %d", k, maxAttributeKey, maxAttributeValue)
			case strings.HasPrefix(k, reserved):
				bad.Add("attributes", "the entry %.64q begins with %s, which says what Trunkline itself tells; use another name", k, reserved)
			case !utf8.ValidString(k) || !utf8.ValidString(v) || strings.ContainsFunc(k, unicode.IsControl): // readers of the store would drop the message
				bad.Add("attributes", "the entry %.64q is not UTF-8, or its name has control characters, such as a line break", k)
			}
		}
	}
	within(bad, "ttl", p.TTL, time.Millisecond, maxTTL)
	if key := p.IdempotencyKey; key != "" && (len(key) > MaxKey || !visible(key)) {
		bad.Add("idempotency_key", "must be 1 to %d visible ASCII characters", MaxKey)
	}
}

func checkRecipients(bad *Invalid, m *Message) {
	n := len(m.Recipients)
	if n == 0 {
		return
	}
	if !m.To.IsZero() && m.To.Kind() != KindChannels {
		bad.Add("recipients", "narrow only a channel")
	}
	if n > maxRecipients {
		bad.Add("recipients", "has %d entries, the limit is %d", n, maxRecipients)
		return
	}
	m.Recipients = ParseNames(bad, "recipients", "client", m.Recipients)
}

// within notes a duration that is set and not allowed.
func within(bad *Invalid, field string, d, least, most time.Duration) {
	switch {
	case d < 0:
		bad.Add(field, "is not above 0, allowed are %s to %s", least, most)
	case d > 0 && (d < least || d > most):
		bad.Add(field, "is %s, allowed are %s to %s", d, least, most)
	}
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// checkSender decides who the message is from: a token's sender is its own, a back end may name one.
func checkSender(bad *Invalid, m *Message, who Caller) {
	if id := who.Who(); id != nil {
		own := Sender{Client: id.Client, User: id.User}
		if m.From != (Sender{}) && m.From != own {
			bad.Add("sender", "is set by the server from the token; leave it out")
		}
		m.From = own
		return
	}
	m.From = Sender{Client: bad.Name("sender.client", m.From.Client), User: bad.Name("sender.user", m.From.User)}
}

// checkAck reads the ack terms, and returns a copy with the defaults filled in.
func (d *Door) checkAck(bad *Invalid, p *Publication) *AckTerms {
	if p.Ack == nil {
		return nil
	}
	terms, to := *p.Ack, p.Message.To
	if !to.IsZero() && !to.HasInbox() {
		bad.Add("ack", "only with a client, a user or a session; channels, groups and broadcast keep history instead")
	}
	if p.Message.ExcludeClient != "" || p.Message.ExcludeConnection != "" {
		bad.Add("exclude_sender", "not together with ack")
	}
	if terms.Scope != AnyDevice && terms.Scope != EachDevice {
		bad.Add("ack.scope", "is not one of ACK_SCOPE_ANY_DEVICE, ACK_SCOPE_EACH_DEVICE")
	}
	within(bad, "ack.timeout", terms.Timeout, minAckTimeout, maxAckTimeout)
	within(bad, "ack.keep", terms.Keep, minKeep, maxKeep)
	if key := terms.CollapseKey; key != "" && (len(key) > MaxKey || !visible(key)) {
		bad.Add("ack.collapse_key", "must be 1 to %d visible ASCII characters", MaxKey)
	}
	checkDeadLetterTerms(bad, &terms)
	terms.Limit = d.inbox.Limit
	if terms.Timeout == 0 {
		terms.Timeout = d.inbox.AckTimeout
	}
	if terms.Keep == 0 {
		terms.Keep = d.inbox.Keep
	}
	if p.TTL > 0 {
		terms.Keep = min(terms.Keep, p.TTL)
	}
	return &terms
}

func checkDeadLetterTerms(bad *Invalid, t *AckTerms) {
	switch {
	case t.MaxDeliveries == 0 && t.DeadLetter.IsZero():
		return
	case t.MaxDeliveries == 0:
		bad.Add("ack.max_deliveries", "is needed with dead_letter")
	case t.MaxDeliveries < 0 || t.MaxDeliveries > maxDeliveries:
		bad.Add("ack.max_deliveries", "is %d, the limit is %d", t.MaxDeliveries, maxDeliveries)
	}
	switch {
	case t.DeadLetter.IsZero():
		if !bad.has("ack.dead_letter") {
			bad.Add("ack.dead_letter", "is needed with max_deliveries: the channel that gets what nobody acknowledged")
		}
	case t.DeadLetter.Kind() != KindChannels:
		bad.Add("ack.dead_letter", "is not a channel")
	}
}

// checkDurability notes what is asked for that the address cannot give.
func checkDurability(bad *Invalid, p *Publication, ns Namespace) {
	if p.Durability > Fsynced {
		bad.Add("durability", "is not one of DURABILITY_LIVE, DURABILITY_ACCEPTED, DURABILITY_REPLICATED, DURABILITY_FSYNCED")
	} else if p.Durability > Live && !ns.Retention.Durable() && p.Ack == nil {
		bad.Add("durability", "needs an address that keeps history, or an ack; this one is live")
	}
	if p.Replicas > 0 && (p.Durability != Replicated || p.Replicas > MaxReplicas) {
		bad.Add("replicas", "is %d; allowed are 1 to %d, with DURABILITY_REPLICATED", p.Replicas, MaxReplicas)
	}
}

// checkRetain says how long the message is its address's last one.
func checkRetain(bad *Invalid, p *Publication) {
	switch {
	case p.Retain < 0 || p.Retain > MaxRetain || p.Retain > 0 && p.Retain < time.Millisecond:
		bad.Add("retain", "is not 0, or a duration from 1ms to 720h")
	case p.Retain > 0 && p.Ack != nil:
		bad.Add("retain", "not together with ack")
	}
}

// Account is who pays for what the store has to keep. It is a user with all of its clients, or a client that has no user. A back end
// has one account, whoever it speaks for, and so have all strangers of one network address.
type Account struct {
	Kind AccountKind
	Name string
}

// AccountKind says what an Account is.
type AccountKind uint8

// The kinds of accounts.
const (
	AccountKey    AccountKind = 1
	AccountUser   AccountKind = 2
	AccountClient AccountKind = 3
	AccountPeer   AccountKind = 4
)

// String returns the word for the kind in refusals and metrics.
func (k AccountKind) String() string {
	switch k {
	case AccountKey:
		return "key"
	case AccountUser:
		return "user"
	case AccountPeer:
		return "address"
	}
	return "client"
}

// unknownPeer is the account of strangers whose address nobody knows. They may be many. No API key has this name.
const unknownPeer = "(unknown)"

// Account returns who pays for the author.
func (a Author) Account() Account {
	switch {
	case a.Peer != "":
		return Account{AccountPeer, a.Peer}
	case a.Key != "":
		return Account{AccountKey, a.Key}
	case a.Sender.User != "":
		return Account{AccountUser, a.Sender.User}
	case a.Sender.Client == "":
		return Account{AccountKey, unknownPeer}
	}
	return Account{AccountClient, a.Sender.Client}
}

// Charge is what one call makes the store keep, or do.
type Charge struct {
	// Address is what the store has to know from then on; zero when nothing is kept of it. It counts when it is new.
	Address Address
	// Messages that are sent, and the Bytes of them and of states that are kept.
	Messages, Bytes int
	// IdempotencyKeys that are remembered.
	IdempotencyKeys int
	// Subscriptions that begin.
	Subscriptions int
	// Tokens, Revocations and Channels that are made. The labels of a channel count as further ones, by the KiB.
	Tokens, Revocations, Channels int
}

// Charging takes what a call costs from an account, or refuses the call with ErrQuotaExceeded. It may be called concurrently. A nil
// Charging refuses nothing.
type Charging func(Account, Charge) error

// Take takes a charge from the author's account.
func (c Charging) Take(author Author, charge Charge) error {
	if c == nil {
		return nil
	}
	return c(author.Account(), charge)
}

// charge is what a publication costs. What nobody keeps costs one message.
func (p *Publication) charge() Charge {
	c := Charge{Messages: 1}
	kept := p.Retention.Durable() || p.Ack != nil || p.Retain > 0
	if p.IdempotencyKey != "" {
		c.IdempotencyKeys = 1
	}
	if kept || p.IdempotencyKey != "" {
		c.Address = p.Message.To
	}
	if kept {
		c.Bytes = p.Message.size()
	}
	return c
}

// size is how many bytes a message has that its publisher chose.
func (m *Message) size() int {
	n := len(m.Data)
	for k, v := range m.Attributes {
		n += len(k) + len(v)
	}
	for _, r := range m.Recipients {
		n += len(r)
	}
	return n
}
