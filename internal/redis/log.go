package redis

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// Since returns a page after a position.
func (s *Store) Since(ctx context.Context, to bus.Address, r bus.Retention, after bus.Position, limit int) (bus.Page, error) {
	return s.read(ctx, to, r, "since", after, limit)
}

// Latest returns a page before an offset, newest first.
func (s *Store) Latest(ctx context.Context, to bus.Address, r bus.Retention, before uint64, limit int) (bus.Page, error) {
	return s.read(ctx, to, r, "latest", bus.Position{Offset: before}, limit)
}

func (s *Store) read(ctx context.Context, to bus.Address, r bus.Retention, verb string, from bus.Position, limit int) (bus.Page, error) {
	if r.Inbox {
		return s.readInbox(ctx, to, from, limit)
	}
	page, gap, err := s.readOnce(ctx, to, r, verb, from, limit)
	// The beginning is asked for only where it decides: without a log, and for a reader from the start.
	if err == nil && (page.Top.Epoch == "" || from.Epoch != "" && from.IsStart()) {
		gap, err = s.begun(ctx, to, from, &page, gap)
	}
	if err != nil {
		return bus.Page{}, err
	}
	if gap {
		return page, bus.ErrGap.With("", map[string]string{"address": to.String()})
	}
	return page, nil
}

// readOnce reads a page. The epoch of its top is empty where there is no log yet.
func (s *Store) readOnce(ctx context.Context, to bus.Address, r bus.Retention, verb string, from bus.Position, limit int) (page bus.Page, gap bool, err error) {
	age := r.Age
	// A reader that names no age sees everything that can still be there.
	if age <= 0 {
		age = s.cfg.MetaTTL
	}
	cmd, err := s.run(ctx, readScript, []string{s.keys.stream(to), s.keys.meta(to)},
		verb, from.Epoch, strconv.FormatUint(from.Offset, 10), min(limit, maxPage), age.Milliseconds(), s.cfg.MetaTTL.Milliseconds())
	if err != nil {
		return page, false, unavailable(err)
	}
	answer, err := cmd.Slice()
	if err != nil || len(answer) != 9 {
		return page, false, s.misread(err, to.String())
	}
	lost, _ := answer[0].(int64)
	epoch, _ := answer[1].(string)
	entries, _ := answer[3].([]any)
	past, _ := answer[5].(string)
	b := births{epoch, past, s.epoch}
	page.Top = b.position(uintOf(answer[2]))
	page.Next = page.Top
	if verb == "latest" && from.Offset > 0 {
		page.Next = b.position(min(page.Top.Offset, from.Offset-1))
	}
	now := time.UnixMilli(int64(uintOf(answer[4]))) // a time of Redis
	s.fill(&page, to, entries, min(limit, maxPage), now, b)
	// A fork lies before the top: the reader is told of it before it reads on.
	if ends := uintOf(answer[7]); ends > 0 && !page.More {
		page.More, page.Next = true, b.position(ends)
	}
	page.Unproved, page.Forked = lost == 2, answer[8] == "1"
	if answer[6] == "1" {
		s.prolong(ctx, to)
	}
	return page, lost > 0, nil
}

// begun fills in the position of an address without a log, and says whether there is a gap after a start. The beginning is asked
// for after the page was read. A store that was emptied between the two thus shows a gap too many, and never one too few.
func (s *Store) begun(ctx context.Context, to bus.Address, from bus.Position, page *bus.Page, gap bool) (bool, error) {
	start, err := s.begins(ctx, to)
	if page.Top.Epoch == "" {
		page.Top, page.Next = start, start
	}
	return gap || from.Epoch != "" && from.IsStart() && from.Epoch != start.Epoch, err
}

// maxPage bounds what one script reads.
const maxPage = 2000

// fill puts stream entries into a page. An entry that cannot be read counts as looked at.
func (s *Store) fill(page *bus.Page, to bus.Address, entries []any, limit int, now time.Time, b births) {
	// One more than asked for was read, to know whether there are more.
	if len(entries) > limit {
		page.More = true
		entries = entries[:limit]
	}
	for _, e := range entries {
		id, envelope := entryOf(e)
		m, err := decodeEntry(to, b.of(offsetOf(id)), id, envelope)
		// Past an entry that cannot be read too, or it would be read for ever.
		page.Next = m.Position
		if m = s.taken(m, err, unreadEntry, to); m != nil && !m.Expired(now) {
			page.Messages = append(page.Messages, m)
		}
	}
}

// births says under which epoch an entry was published: the present one, or one of the past. Those of the past are written as
// "<epoch>:<last offset>" with the newest first.
type births struct {
	epoch, past string
	told        func(string) string // how an epoch is told
}

func (b births) of(offset uint64) string {
	epoch := b.epoch
	for one := range strings.FieldsSeq(b.past) {
		name, last, _ := strings.Cut(one, ":")
		// The newest epoch comes first, so the walk ends at the one in which the offset was published.
		if n, err := strconv.ParseUint(last, 10, 64); err != nil || offset > n {
			break
		}
		epoch = name
	}
	return b.told(epoch)
}

func (b births) position(offset uint64) bus.Position {
	return bus.Position{Epoch: b.of(offset), Offset: offset}
}

// offsetOf is the offset in the id of an entry; 0 when it has none.
func offsetOf(id string) uint64 {
	text, _, _ := strings.Cut(id, "-")
	n, _ := strconv.ParseUint(text, 10, 64)
	return n
}

// prolong keeps what is known of the positions of addresses that are in use, also where nothing is published. A server that
// takes no writes now is asked again at the next use.
func (s *Store) prolong(ctx context.Context, addresses ...bus.Address) {
	cmds := make([]redis.Cmder, len(addresses))
	for i, a := range addresses {
		// GT never shortens a time that a retention has made longer.
		cmds[i] = redis.NewIntCmd(ctx, "pexpire", s.keys.meta(a), s.cfg.MetaTTL.Milliseconds(), "gt")
	}
	if len(cmds) > 0 {
		_ = s.do(ctx, cmds...)
	}
}

// entryOf takes a stream entry apart: [id, [field, value]]. The envelope of one that is not ours is empty, which is none.
func entryOf(e any) (id, envelope string) {
	pair, _ := e.([]any)
	if len(pair) != 2 {
		return "", ""
	}
	id, _ = pair[0].(string)
	if fields, _ := pair[1].([]any); len(fields) >= 2 && fields[0] == "m" {
		envelope, _ = fields[1].(string)
	}
	return id, envelope
}

// unavailable leaves refusals as they are and gives everything else one.
func unavailable(err error) error {
	if e, ok := err.(*bus.Error); ok { //nolint:errorlint // ours are not wrapped here
		return e
	}
	return failure(err)
}
