package publish

import (
	"encoding/base64"
	"encoding/json"

	"google.golang.org/protobuf/proto"

	"github.com/trunkline/trunkline/internal/bus"
)

// cursor is what a page token says: where to read on, and in which list.
type cursor struct {
	List   string `json:"l"`
	After  string `json:"a,omitempty"`
	Epoch  string `json:"e,omitempty"`
	Offset uint64 `json:"o,omitempty"`
	Newest bool   `json:"n,omitempty"`
}

func (c cursor) token() string {
	b, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

const (
	defaultPage = 100
	maxPage     = 1000
	// maxPageToken is longer than what the longest address makes.
	maxPageToken = 4096
)

// paging checks page_size and page_token; list says of which list the token has to be.
func paging(bad *bus.Invalid, size int32, token, list string) (int, cursor) {
	n := int(size)
	switch {
	case n == 0:
		n = defaultPage
	case n < 0 || n > maxPage:
		bad.Add("page_size", "is %d, allowed are 1 to %d", n, maxPage)
	}
	var c cursor
	if token == "" {
		return n, c
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) > maxPageToken || json.Unmarshal(b, &c) != nil || c.List != list {
		bad.Add("page_token", "is not one that this list returned")
	}
	return n, c
}

const (
	// pageBytes is how large a page becomes: a message that would go beyond it begins the next one. Clients of gRPC take 4 MiB
	// unless they are told otherwise.
	pageBytes = 1 << 20
	// readBytes is how much one read of the store may bring in at first, when nothing is known yet of how large the items are.
	readBytes = 4 << 20
	// envelope is what stands around a payload at most: attributes above all.
	envelope = 48 << 10
	// largestChannel and largestMember are the largest items of their lists, labels and names as long as they may be.
	largestChannel = 48 << 10
	largestMember  = 4 << 10
)

// largest is how large a message of an address may be.
func (s *Server) largest(a bus.Address) int { return s.door.Limit(a) + envelope }

// stretch is what one read of the store gives.
type stretch[T proto.Message] struct {
	entries []entry[T]
	// next is where the next read begins, if there is more.
	next cursor
	more bool
}

// entry is one item, and where a page begins that follows it. An item that the caller may not have is passed over.
type entry[T proto.Message] struct {
	item   T
	shown  bool
	behind cursor
}

func (p *stretch[T]) add(item T, behind cursor) {
	p.entries = append(p.entries, entry[T]{item, true, behind})
}

func (p *stretch[T]) pass(behind cursor) {
	p.entries = append(p.entries, entry[T]{behind: behind})
}

// gather fills a page with at most size items, and at least one where there is one. It returns the items and the token of the next
// page; empty on the last one. Each item is at most largest bytes long, which bounds what is read at once.
func gather[T proto.Message](size, largest int, at cursor, read func(at cursor, n int) (stretch[T], error)) (items []T, token string, err error) {
	bytes, looked := 0, 0
	for next := max(1, readBytes/largest); ; {
		p, err := read(at, min(next, size-looked))
		switch {
		case err != nil && len(items) > 0:
			return items, at.token(), nil // the next page says what is wrong
		case err != nil:
			return nil, "", err
		}
		for _, e := range p.entries {
			if e.shown {
				n := proto.Size(e.item)
				if len(items) > 0 && bytes+n > pageBytes {
					return items, at.token(), nil
				}
				items, bytes = append(items, e.item), bytes+n
			}
			at = e.behind
		}
		at, looked = p.next, looked+len(p.entries)
		switch {
		case !p.more:
			return items, "", nil
		case looked >= size || len(p.entries) == 0 || bytes >= pageBytes:
			return items, at.token(), nil
		}
		// The items until now say how many of them fit; more than four times as many as before are not believed.
		next = max(1, min(4*next, 2*(pageBytes-bytes)*looked/max(bytes, 1)))
	}
}
