// Package load is the generator: many WebSocket clients on a few epoll loops. They check each message that comes for loss,
// repetition and order, and take its age. The package knows no dialect; a Script says how a client opens its connection.
package load

import (
	"bytes"
	"strconv"
	"time"
)

// A payload holds one record: mark, sequence number, time when it was due, number of its stream. All numbers are hexadecimal, so
// that any envelope, JSON or binary, carries the record unchanged.
const (
	mark      = "~#@"
	recordLen = len(mark) + 16 + 16 + 8
)

var epoch = time.Now()

// Now is the clock of this process, in nanoseconds.
func Now() int64 { return int64(time.Since(epoch)) }

// Payload appends a JSON object of size bytes with a record in it.
func Payload(dst []byte, stream uint32, seq uint64, due int64, size int) []byte {
	start := len(dst)
	dst = append(dst, `{"m":"`+mark...)
	dst = hex(dst, seq, 16)
	dst = hex(dst, uint64(due), 16) //nolint:gosec // times are positive
	dst = hex(dst, uint64(stream), 8)
	dst = append(dst, `","x":"`...)
	for len(dst)-start < size-2 {
		dst = append(dst, 'x')
	}
	return append(dst, `"}`...)
}

func hex(dst []byte, v uint64, width int) []byte {
	const digits = "0123456789abcdef"
	for i := width - 1; i >= 0; i-- {
		dst = append(dst, digits[v>>(4*i)&15])
	}
	return dst
}

type record struct {
	stream uint32
	seq    uint64
	due    int64
}

// parse reads a record of exactly recordLen bytes.
func parse(b []byte) (record, bool) {
	b = b[len(mark):]
	seq, ok1 := unhex(b[:16])
	due, ok2 := unhex(b[16:32])
	stream, ok3 := unhex(b[32:40])
	return record{uint32(stream), seq, int64(due)}, ok1 && ok2 && ok3 //nolint:gosec // as they were written
}

func unhex(b []byte) (uint64, bool) {
	var v uint64
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// scanner finds records in a stream of bytes that comes in pieces.
type scanner struct {
	tail [recordLen]byte
	held int
}

func (s *scanner) scan(p []byte, found func(record)) {
	if s.held > 0 {
		n := min(recordLen-s.held, len(p))
		copy(s.tail[s.held:], p[:n])
		whole := s.held + n
		begins := bytes.HasPrefix(s.tail[:whole], []byte(mark)[:min(len(mark), whole)])
		switch {
		case begins && whole < recordLen:
			s.held = whole
			return
		case begins:
			if r, ok := parse(s.tail[:]); ok {
				found(r)
			}
			p = p[n:]
		}
		s.held = 0
	}
	for {
		i := bytes.Index(p, []byte(mark))
		if i < 0 {
			break
		}
		if len(p)-i < recordLen {
			s.held = copy(s.tail[:], p[i:])
			return
		}
		if r, ok := parse(p[i : i+recordLen]); ok {
			found(r)
		}
		p = p[i+recordLen:]
	}
	for n := min(len(mark)-1, len(p)); n > 0; n-- {
		if string(p[len(p)-n:]) == mark[:n] {
			s.held = copy(s.tail[:], p[len(p)-n:])
			return
		}
	}
}

// track is what one client has of one stream. Streams begin with 0.
type track struct {
	stream            uint32
	next              uint64
	dup, disorder, ok uint64
	missing           map[uint64]struct{}
}

func (t *track) take(seq uint64) {
	switch {
	case seq == t.next:
		t.next++
		t.ok++
	case seq > t.next:
		if t.missing == nil {
			t.missing = make(map[uint64]struct{})
		}
		for ; t.next < seq; t.next++ {
			t.missing[t.next] = struct{}{}
		}
		t.next++
		t.ok++
	default:
		if _, late := t.missing[seq]; late {
			delete(t.missing, seq)
			t.disorder++
			t.ok++
		} else {
			t.dup++
		}
	}
}

// Tally is what went wrong, over all clients: 0 everywhere in a run that is right.
type Tally struct {
	Lost, Dup, Disorder uint64
	Broken              int64
}

// Wrong is the sum.
func (t Tally) Wrong() float64 { return float64(t.Lost+t.Dup+t.Disorder) + float64(t.Broken) }

func (t Tally) String() string {
	return "lost " + strconv.FormatUint(t.Lost, 10) + ", repeated " + strconv.FormatUint(t.Dup, 10) +
		", out of order " + strconv.FormatUint(t.Disorder, 10) + ", broken connections " + strconv.FormatInt(t.Broken, 10)
}
