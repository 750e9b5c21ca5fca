package redis

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
)

// Whatever is read from Redis is input: another program may have written it, or an operator by hand. What is not as our scripts
// write it is dropped and counted, at the door where it is read. It is never passed on, and never an error of what stands beside it.

// unread is a kind of what cannot be read; the label of the metric.
type unread string

const (
	unreadPush       unread = "push"       // what came on the channel of an address
	unreadEntry      unread = "entry"      // of a log
	unreadInbox      unread = "inbox"      // an entry of an inbox
	unreadRetained   unread = "retained"   // the last message of an address
	unreadState      unread = "state"      // of an address
	unreadPosition   unread = "position"   // the epoch of a log or of a beginning
	unreadMember     unread = "member"     // of a roster
	unreadNode       unread = "node"       // a process
	unreadEvent      unread = "event"      // one that is noted and not told
	unreadConnection unread = "connection" // an open one
	unreadChannel    unread = "channel"    // the record of a created channel, or its name in the list
	unreadRevocation unread = "revocation" // one of the log, or the time of a subject
	unreadCursor     unread = "cursor"     // the place of a reader
	unreadKey        unread = "key"        // one of another type, or with what no script can work on
)

// unreadQuiet is for how long a kind is not logged again.
const unreadQuiet = 10 * time.Second

// garbage counts what cannot be read, and logs each kind now and then. Many goroutines may use it.
type garbage struct {
	log   *slog.Logger
	total *prometheus.CounterVec

	mu    sync.Mutex
	kinds map[unread]*silence
}

// silence is when a kind was logged last, and how many came since.
type silence struct {
	last time.Time
	more int
}

func newGarbage(reg prometheus.Registerer, log *slog.Logger) *garbage {
	g := &garbage{log: log, kinds: make(map[unread]*silence), total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "trunkline_store_unreadable_total",
		Help: "What was read from Redis, cannot be ours and was dropped, by kind.",
	}, []string{"kind"})}
	if reg != nil {
		reg.MustRegister(g.total)
	}
	return g
}

// drop notes one. where says where it stands, in our own words: nothing of what was read is logged.
func (g *garbage) drop(kind unread, where string) {
	g.total.WithLabelValues(string(kind)).Inc()
	g.mu.Lock()
	s := g.kinds[kind]
	if s == nil {
		s = new(silence)
		g.kinds[kind] = s
	}
	now := time.Now()
	if !s.last.IsZero() && now.Sub(s.last) < unreadQuiet {
		s.more++
		g.mu.Unlock()
		return
	}
	more := s.more
	s.last, s.more = now, 0
	g.mu.Unlock()
	g.log.Warn("something in Redis cannot be read and was dropped", slog.String("kind", string(kind)), slog.String("at", where), slog.Int("more", more))
}

const (
	// longestText is how many bytes an id or a name has at the most. A name is percent-encoded where it is canonical.
	longestText = 3 * bus.MaxNameLength
	// longestEpoch is for epochs, which are much shorter.
	longestEpoch = 64
	// lastMillis is the end of the year 9999: JSON and protobuf know no later time.
	lastMillis = 253_402_300_799_999
	// leastMost is what every message may have, whatever is configured: ours tell of presence, states and events.
	leastMost = bus.DefaultMaxMessage
)

// plainText says whether a text may be a name, an id or a part of one.
func plainText(s string) bool {
	if len(s) > longestText || !utf8.ValidString(s) {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// epochText says whether a text may be an epoch: small letters and digits.
func epochText(s string) bool {
	if s == "" || len(s) > longestEpoch {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// inTime says whether a time in ms is one that can be told.
func inTime(ms uint64) bool { return ms <= lastMillis }

// sound says whether a message that was decoded may be passed on.
func sound(m *bus.Message) bool {
	if m.ID == "" || m.ContentType < bus.JSON || m.ContentType > bus.Binary || m.Kind >= bus.MessageMark {
		return false
	}
	for _, s := range [...]string{m.ID, m.From.Client, m.From.User, m.ExcludeClient, m.ExcludeConnection} {
		if !plainText(s) {
			return false
		}
	}
	for _, s := range m.Recipients {
		if !plainText(s) {
			return false
		}
	}
	for name, value := range m.Attributes {
		if !plainText(name) || !utf8.ValidString(value) {
			return false
		}
	}
	switch m.ContentType {
	case bus.JSON:
		// Frames have the payload as it is: one that is no JSON would be read as a part of the frame.
		return len(m.Data) == 0 || json.Valid(m.Data) && utf8.Valid(m.Data)
	case bus.Text:
		return utf8.Valid(m.Data)
	case bus.Binary:
	}
	return true
}

// fits says whether a message is no larger than a door lets in.
func (s *Store) fits(m *bus.Message) bool {
	return s.cfg.MaxMessage == 0 || len(m.Data) <= max(leastMost, s.cfg.MaxMessage)
}

// taken returns a message that was decoded, or nil where it may not be passed on.
func (s *Store) taken(m *bus.Message, err error, kind unread, to bus.Address) *bus.Message {
	if err == nil && s.fits(m) {
		if to != bus.Revoked || revokes(m) {
			return m
		}
		kind = unreadRevocation
	}
	s.garbage.drop(kind, to.String())
	return nil
}

// revokes says whether a message of the log of revocations is one. Nothing tells who wrote it: whoever may write to Redis may revoke.
func revokes(m *bus.Message) bool {
	var r bus.Revocation
	return json.Unmarshal(m.Data, &r) == nil && r.Names() && plainText(r.ID)
}

// epoch returns an epoch that was read. Anything else is told as another text, which is the same each time: its log goes
// on, and nobody can resume there.
func (s *Store) epoch(text string) string {
	if text == "" || epochText(text) {
		return text
	}
	s.garbage.drop(unreadPosition, "an epoch")
	sum := sha256.Sum256([]byte(text))
	return "x" + hex.EncodeToString(sum[:8])
}

// timeOf reads a time in ms. It is zero for 0 and for anything that is not such a time.
func timeOf(ms string) time.Time {
	n, err := strconv.ParseUint(ms, 10, 64)
	if err != nil || n == 0 || !inTime(n) {
		return time.Time{}
	}
	return time.UnixMilli(int64(n))
}
