package bus

import (
	"bytes"
	"context"
	"strings"
	"time"
)

// Publication is one message to store and fan out, with the rules that the store applies to it
// in the same atomic step.
type Publication struct {
	Message Message
	// TTL is after how long the message is not worth delivering any more; 0 for never. The store sets the times of Message, by
	// its own clock, and ignores what is there.
	TTL time.Duration
	// Retention is how the address is kept; live when zero.
	Retention Retention
	// RequireChannel refuses with ErrChannelNotFound unless the channel was created.
	RequireChannel bool
	// IdempotencyKey, if set, makes a repeat within Window send nothing, and return the first answer with the id of the first
	// message. A repeat has the same Publisher, address and Digest. A repeat with another Digest fails with ErrIdempotencyMismatch.
	// Keys of other publishers are others. A key ends with the log that it was used for: when the channel is deleted, or everything
	// is lost.
	IdempotencyKey string
	// Publisher names who the key belongs to, which a Door decides.
	Publisher string
	Digest    string
	Window    time.Duration
	// Durability is the least that counts as OK; Live for whatever the address gives. With Replicated, Replicas says
	// how many. Returns ErrNotReached when it was published and that is not known, and ErrNotDurable when the store cannot
	// give it, and then nothing was published.
	Durability Durability
	Replicas   int
	// Ack, if set, puts the message into the inbox of its address instead of a log. Returns ErrInboxFull.
	Ack *AckTerms
	// Retain keeps the message as the last one of its address for so long, in the same step; 0 leaves what is kept. Not
	// together with Ack. A Door takes AsConfigured for what the namespace says.
	Retain time.Duration
}

// AsConfigured is the Retain of a publication that does not say.
const AsConfigured time.Duration = -1

// Receipt says what became of a publication.
type Receipt struct {
	// ID is the message's, or the first message's when this is a repeat.
	ID         string
	Position   Position
	Duplicate  bool
	Durability Durability
	Replicas   int // that have said that they have it; 0 unless that was asked for
	// Published is when, by the store's clock. Within a log it never falls.
	Published time.Time
}

// Publisher stores and fans out messages.
type Publisher interface {
	// Publish checks, appends and fans out in one atomic step. Concurrent publishes of one caller to
	// one address keep the order in which Publish was called only when each waits for the one before.
	// Returns ErrChannelNotFound, ErrIdempotencyMismatch, ErrStoreUnavailable, ErrReplicasMissing or ErrStorageFull.
	// After ErrStoreUnavailable the outcome is unknown; the idempotency key resolves it.
	Publish(ctx context.Context, p Admitted) (Receipt, error)
	// PublishAll publishes several; receipts and errors are by index. Items of one address keep their order.
	PublishAll(ctx context.Context, ps []Admitted) ([]Receipt, []error)
}

// Receiver is told what arrives on a Feed. Calls for one address come one at a time and in
// order, and calls for different addresses may come at the same time. A Receiver must not block, for it holds up
// every other address of the connection.
type Receiver interface {
	// Deliver hands over one message, which the receiver must not change.
	Deliver(m *Message)
	// Interrupted says that messages of these addresses may have been missed; nil means of all. What may have been missed was
	// published before anything that is delivered later: a Deliver of the next position thus proves that nothing was.
	Interrupted(addresses []Address)
}

// Feed is one independent set of subscriptions and the loop that reads them.
type Feed interface {
	// Subscribe returns when every message published from now on to the addresses is going to be
	// delivered. Subscribing twice is the same as once. Returns ErrStoreUnavailable when that cannot be
	// said before ctx ends; the feed then goes on trying until Unsubscribe.
	Subscribe(ctx context.Context, addresses ...Address) error
	// Unsubscribe stops delivery soon; it does not wait.
	Unsubscribe(addresses ...Address)
	// Retained reads the last message that is retained of an address that is subscribed; the message is nil when there is
	// none. The receiver is given a message of the kind MessageMark whose id is mark, in the place of the reading. What was
	// published before it comes before the mark, and what was published later comes after it.
	Retained(ctx context.Context, a Address, mark string) (Last, error)
	// Run reads until ctx ends and then returns nil. It must be running for Subscribe to return.
	Run(ctx context.Context, r Receiver) error
	// Ready returns nil while a message sent through the store is known to come back on the feed, and
	// otherwise says why not.
	Ready() error
}

// Last is the last message of an address that was retained.
type Last struct {
	// Message is nil when there is none.
	Message *Message
	// Bare is set when another program may have kept it: it is known by its data alone.
	Bare bool
}

// Is says whether m is the message.
func (l Last) Is(m *Message) bool {
	if l.Message == nil || m == nil || m.Kind != MessageData {
		return false
	}
	return l.Message.ID == m.ID || l.Bare && bytes.Equal(l.Message.Data, m.Data)
}

// MaxRetain is the longest that a message is retained.
const MaxRetain = 30 * 24 * time.Hour

// Feeds makes feeds. The edge has one, the publish service another.
type Feeds interface {
	NewFeed() Feed
}

// Page is a part of what an address has kept.
type Page struct {
	// Messages that have expired are left out.
	Messages []*Message
	// Next is the position of the last entry looked at, expired or not: the place to read on from.
	Next Position
	// More says whether there is something after Next in the direction of reading.
	More bool
	// Unproved is set together with ErrGap when nothing is known to be missing. But the log may have lost its end there before it
	// was continued. The master was restarted or replaced, and nothing proves that everything acknowledged survived.
	Unproved bool
	// Forked is set when there is such a place between the position and Top. A page ends there.
	Forked bool
	// Top is the newest position of the address; a start (Position.IsStart) for one that nothing was published to.
	Top Position
}

// Log reads what an address has kept.
type Log interface {
	// Since returns at most limit messages after the given position, oldest first; after the zero
	// position means from the oldest there is. Returns ErrGap when that position is no longer kept or belongs to another epoch. The
	// page then starts at the oldest message there is. A position beyond what is there, because the log has lost its end, is ErrGap
	// with a page that starts where the log ended. A failover may change the epoch of a log and keep what is in it. Positions of the
	// epoch before are then good up to there. A message keeps the position under which it was published, whoever reads it and when.
	// A page may have several epochs, and Top has the newest.
	Since(ctx context.Context, to Address, r Retention, after Position, limit int) (Page, error)
	// Latest returns at most limit messages before the given offset, newest first; 0 means from the newest.
	Latest(ctx context.Context, to Address, r Retention, before uint64, limit int) (Page, error)
	// Tops returns the newest position of each address, by index. An address that nothing was published to has a start, from which
	// Since reads everything that is published later. Asking keeps what is known of an address from being forgotten. Errors are by
	// index too, and nil when there is none: an address that cannot be asked about holds up no other.
	Tops(ctx context.Context, addresses []Address) ([]Position, []error)
}

// NodeTTL is how long a node that is not heard of counts as alive.
const NodeTTL = 15 * time.Second

// Node is one process.
type Node struct {
	// Life names one life of the process, as LifeName makes it. What another life of the same name has left behind is then not taken for its own.
	Life        string
	Roles       []string
	Version     string
	Started     time.Time
	Connections int64
}

// LifeName returns the name of one life of the process that is configured as node.
func LifeName(node, life string) string { return node + "~" + life }

// Name returns the name that the process is configured with.
func (n Node) Name() string {
	node, _, _ := strings.Cut(n.Life, "~")
	return node
}

// Nodes knows the living processes.
type Nodes interface {
	// Beat says that the node is alive; each does so at least every NodeTTL/3.
	Beat(ctx context.Context, n Node) error
	// Gone forgets a node at once. Members that it has left behind are reaped like those of a node that died.
	Gone(ctx context.Context, life string) error
	// Nodes returns the living nodes, ordered by life.
	Nodes(ctx context.Context) ([]Node, error)
}

// Channel is a created channel.
type Channel struct {
	Address Address
	Labels  map[string]string
	Created time.Time
	// TokenDigest is the digest of the channel's token.
	TokenDigest string
}

// ChannelPage is a part of the created channels, ordered by name.
type ChannelPage struct {
	Channels []Channel
	More     bool
}

// Channels keeps created channels.
type Channels interface {
	// CreateChannel returns ErrChannelExists when there is one of that name.
	// When there are limit channels already, and limit is not 0, it returns ErrChannelLimit.
	CreateChannel(ctx context.Context, c Channel, limit int) error
	// Channel returns ErrChannelNotFound.
	Channel(ctx context.Context, a Address) (Channel, error)
	// ListChannels returns at most limit channels whose name sorts after the given one.
	ListChannels(ctx context.Context, after string, limit int) (ChannelPage, error)
	// DeleteChannel removes the channel and what it has kept; its epoch changes. In the same step it is announced on the
	// channel's address by a live message of the kind MessageDeleted. Returns ErrChannelNotFound.
	DeleteChannel(ctx context.Context, a Address) error
}

// Clock tells the time by which everything shared is judged: ages, expiry, deadlines and windows.
type Clock interface {
	// Now returns the store's own time. Processes whose clocks differ agree about it, within the time of a round trip; no other
	// clock may decide about what the store keeps. It may wait for the store once, for as long as a call does, and never fails.
	// Until the store has answered, it is the time of the process.
	Now() time.Time
}

// Pinger is asked whether the store answers.
type Pinger interface {
	// Ping returns nil when every shard of the store answers and takes writes. Otherwise it returns why not: ErrStoreUnavailable,
	// ErrReplicasMissing, ErrStorageFull, or ErrNotDurable where a namespace asks for what the store cannot give.
	Ping(ctx context.Context) error
}

// Store is everything that a store does, for wiring and the contract suite. Each room names the smaller
// union that it uses. All methods may be called concurrently. Every call has a deadline, ctx's or the store's own.
type Store interface { //nolint:interfacebloat // the union of what the services ask for
	Publisher
	Feeds
	Log
	Roster
	Reaper
	Connections
	Cursors
	Nodes
	Tokens
	Families
	Revocations
	Channels
	Inboxes
	States
	Values
	Census
	Clock
	Pinger
	// Close ends the store after every Run of its feeds has returned.
	Close() error
}

// Bridge is what a store may be able to do besides: talk to older programs over the store's own
// channels. It is discovered by type assertion.
type Bridge interface {
	// PublishRecord sends a raw record to a channel of the store that the store was configured to bridge. Every feed that follows
	// the address of the record delivers it.
	PublishRecord(ctx context.Context, channel string, record AdmittedRecord) error
}

// Aliases returns the alias of an address; nil when it has none. It may be called concurrently.
type Aliases func(a Address) Alias

// Alias is another pub/sub channel that an address has for programs that know nothing of addresses. What is published is copied
// to it, and what those programs send there is a message like any other. It is safe for concurrent use.
type Alias interface {
	// Channel is the name of the channel.
	Channel() string
	// Keeps says whether the name is also that of a key, which then holds the copy of the last message that is retained.
	Keeps() bool
	// Copy returns what is sent there for a message; false when those programs are not told of it.
	Copy(m *Message) ([]byte, bool)
	// Map returns the message of what they have sent or kept, or false when it is for nobody. Its time is set by the caller.
	Map(data []byte) (*Message, bool)
}

// BridgeRule maps the records of one channel of the store to messages.
type BridgeRule struct {
	// Channel is the channel's name in the store, such as article.
	Channel string
	// Map returns the message of a record, or false when the record is not for anybody. It is called by
	// every feed for every record, so it must be quick and must not panic on any input.
	Map func(record []byte) (*Message, bool)
}

// AllFailed returns the errors of n items that failed for one reason.
func AllFailed(n int, err error) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// FirstError returns the first error of several items; nil when there is none.
func FirstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Clone returns a node that shares no memory with what it was cut out of.
func (n Node) Clone() Node {
	n.Life, n.Version, n.Roles = strings.Clone(n.Life), strings.Clone(n.Version), cloneAll(n.Roles)
	return n
}

// Clone returns a channel that shares no memory with what it was cut out of.
func (c Channel) Clone() Channel {
	c.Address, c.TokenDigest, c.Labels = c.Address.Clone(), strings.Clone(c.TokenDigest), cloneMap(c.Labels)
	return c
}

// Clone returns a publication that shares no memory with what it was cut out of.
func (p *Publication) Clone() Publication {
	c := *p
	c.Message, c.IdempotencyKey = p.Message.Clone(), strings.Clone(p.IdempotencyKey)
	c.Publisher, c.Digest = strings.Clone(p.Publisher), strings.Clone(p.Digest)
	if p.Ack != nil {
		ack := *p.Ack
		ack.CollapseKey, ack.DeadLetter, ack.Author = strings.Clone(ack.CollapseKey), ack.DeadLetter.Clone(), strings.Clone(ack.Author)
		c.Ack = &ack
	}
	return c
}
