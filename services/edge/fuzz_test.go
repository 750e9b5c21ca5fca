package edge_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// closes are the codes with which an edge may close a connection whose frames are not right.
var closes = map[string]bool{"close": true, "close 1000": true, "close 1002": true, "close 1003": true, "close 1007": true, "close 1009": true, "close 4400": true}

// FuzzFrames writes any bytes behind a connect, at once and in two pieces. One connection is read by the poller, and another one by a
// goroutine. All of them say the same, end with a code that there is, and leave their neighbour alone.
func FuzzFrames(f *testing.F) {
	h := start(f, edge.Config{FrameSize: frameLimit, CommandsPerSecond: 1e6, CommandBurst: 1e6, FramesPerSecond: 1e6})
	token, servers := h.token("ada", everything), h.transports()
	neighbour, err := dialRaw(servers["poller"], token)
	testkit.Check(f, err)
	f.Fuzz(func(t *testing.T, stream []byte, cut uint) {
		if len(stream) > 4*frameLimit {
			return
		}
		stream = finished(stream)
		at := cut % uint(len(stream)+1)
		first := ""
		for transport, server := range servers {
			if transport == "TLS" {
				continue // its bytes are read as those of the portable reader
			}
			for _, pieces := range [][][]byte{{stream}, {stream[:at], stream[at:]}} {
				w, err := dialRaw(server, token)
				testkit.Check(t, err)
				w.answers = true
				said := w.talk(pieces)
				if first == "" {
					first = said
				}
				if said != first {
					t.Errorf("%x: %s in %d pieces says %q, and first was %q", stream, transport, len(pieces), said, first)
				}
				for word := range strings.SplitSeq(said, ", ") {
					if strings.HasPrefix(word, "close") && !closes[word] || strings.HasPrefix(word, "error INTERNAL") || word == "no JSON" {
						t.Errorf("%x: %s says %q", stream, transport, said)
					}
				}
			}
		}
		testkit.Check(t, neighbour.SetDeadline(time.Now().Add(10*time.Second)))
		if _, err := neighbour.Write(pingCommand); err != nil {
			t.Fatalf("the neighbour cannot write: %v", err)
		}
		said := neighbour.said()
		for ; said == "frame 8900"; said = neighbour.said() { // a ping of the edge
			_, _ = neighbour.Write(testkit.ClientFrame(finPong, ""))
		}
		if said != "pong" {
			t.Fatalf("the neighbour is told %q", said)
		}
	})
}

// finished returns a stream with the end of its last frame and of its last message, where these are missing, and a goodbye.
func finished(stream []byte) []byte {
	stream = slices.Clip(stream)
	open := false
	for at := 0; at < len(stream); {
		size := frameSize(stream[at:])
		for ; size == 0; size = frameSize(stream[at:]) {
			stream = append(stream, 0)
		}
		if size > 8*frameLimit { // too large, which ends the connection
			return append(stream, goodbye...)
		}
		stream = append(stream, make([]byte, max(0, at+size-len(stream)))...)
		if stream[at]&15 < 8 {
			open = stream[at] < 0x80
		}
		at += size
	}
	if open {
		stream = append(stream, testkit.ClientFrame(0x80, "")...)
	}
	return append(stream, goodbye...)
}

// frameSize is how long the frame is that begins here (RFC 6455, section 5.2). It is 0 while the header is not whole, and much for a
// frame that no connection takes.
func frameSize(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	form := map[byte]int{126: 2, 127: 8}[b[1]&127]
	if len(b) < 2+form {
		return 0
	}
	long := make([]byte, 8)
	copy(long[8-form:], b[2:2+form])
	size := binary.BigEndian.Uint64(long)
	if form == 0 {
		size = uint64(b[1] & 127)
	}
	return int(min(size, 1<<20)) + 2 + form + int(b[1]>>7)*4
}
