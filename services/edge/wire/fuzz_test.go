package wire_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/trunkline/trunkline/services/edge/wire"
)

// frame is a second reader of the header of a frame (RFC 6455, section 5.2). It returns the length of the frame, and of its payload.
func frame(b []byte) (size, payload uint64, ok bool) {
	if len(b) < 2 {
		return 0, 0, false
	}
	form := map[byte]int{126: 2, 127: 8}[b[1]&127]
	if len(b) < 2+form {
		return 0, 0, false
	}
	long := make([]byte, 8)
	copy(long[8-form:], b[2:2+form])
	payload = binary.BigEndian.Uint64(long) &^ (1 << 63)
	if form == 0 {
		payload = uint64(b[1] & 127)
	}
	return payload + uint64(2+form) + uint64(b[1]>>7)*4, payload, true
}

// FuzzIncoming follows frames as they come, in one piece, byte by byte and in two. It counts the same as a reader that has all of them.
func FuzzIncoming(f *testing.F) {
	f.Fuzz(func(t *testing.T, stream []byte, cut uint) {
		if len(stream) > 3000 {
			return
		}
		size, _, ok := frame(stream)
		if got, whole := wire.FrameOf(stream); whole != ok || whole && got != size {
			t.Fatalf("%x is a frame of %d bytes, %t; want %d, %t", stream, got, whole, size, ok)
		}
		extra, ended, open, rest := 0, 0, false, stream
		for {
			size, payload, ok := frame(rest)
			if !ok {
				break
			}
			fin, data := rest[0]&0x80 != 0, rest[0]&15 < 8
			if !data || !fin && payload < wire.SmallFragment {
				extra++
			}
			if data {
				open = !fin
			}
			if size > uint64(len(rest)) {
				open = true
				rest = nil
				break
			}
			if fin && data {
				ended++
			}
			rest = rest[size:]
		}
		unfinished := open || len(rest) > 0
		at := cut % uint(len(stream)+1)
		for _, pieces := range [][][]byte{{stream}, {stream[:at], stream[at:]}, slices.Collect(slices.Chunk(stream, 1))} {
			gotExtra, gotEnded, gotUnfinished := wire.Follow(pieces)
			// A piece that ends several messages says so once.
			if gotExtra != extra || gotUnfinished != unfinished || (gotEnded > 0) != (ended > 0) || len(pieces) == len(stream) && gotEnded != ended {
				t.Fatalf("%x in %d pieces: %d, %d, %t; want %d, %d, %t", stream, len(pieces), gotExtra, gotEnded, gotUnfinished, extra, ended, unfinished)
			}
		}
	})
}
