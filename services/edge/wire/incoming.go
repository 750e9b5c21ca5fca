package wire

import (
	"encoding/binary"
	"errors"
)

// errFlood ends the reading of a connection whose client sends too many frames that carry next to nothing.
var errFlood = errors.New("too many frames that end no message")

// smallFragment is below what a fragment carries next to nothing. Libraries cut a large message by their buffers, and send as many
// fragments as it takes. Those are bounded by the bytes of a message and by the messages of a second, which have limits of their own.
const smallFragment = 256

// errClose ends the reading of a connection whose client sent a close frame with half of a code.
var errClose = errors.New("a close frame of one byte")

// shortHeader is the longest header of a frame without its mask (RFC 6455, section 5.2).
const shortHeader = 10

// incoming follows the frames of a client in the bytes that gorilla reads, whatever they come over. It knows what gorilla keeps
// to itself: frames that carry next to nothing, messages that are not finished, and how long a close frame was. It judges nothing else.
type incoming struct {
	head   [shortHeader]byte
	had    uint8  // bytes of the header that is being read
	length uint64 // of the payload of the frame that was read last, or is being read
	left   uint64 // bytes of that frame that have not come
	fin    bool   // it is the last one of its message
	data   bool   // it is part of a message
	open   bool   // a message has begun, and its last frame has not
}

// take notes bytes. It returns how many frames began that end no message and carry next to nothing, and whether a message has ended.
func (in *incoming) take(p []byte) (extra int32, ended bool) {
	for len(p) > 0 {
		if in.left > 0 {
			n := min(in.left, uint64(len(p)))
			in.left -= n
			p = p[n:]
			ended = in.end() || ended
			continue
		}
		in.head[in.had] = p[0]
		in.had++
		p = p[1:]
		if !in.header() {
			continue
		}
		if !in.data || !in.fin && in.length < smallFragment {
			extra++
		}
		ended = in.end() || ended
	}
	return extra, ended
}

// header reads a header once it is whole, but for its mask.
func (in *incoming) header() bool {
	size, length := uint8(2), uint64(in.head[1]&0x7F)
	switch length {
	case 126:
		size = 4
	case 127:
		size = shortHeader
	}
	if in.had < size {
		return false
	}
	switch size {
	case 4:
		length = uint64(binary.BigEndian.Uint16(in.head[2:]))
	case shortHeader:
		length = binary.BigEndian.Uint64(in.head[2:]) & (1<<63 - 1) // gorilla refuses what the top bit says
	}
	in.had, in.length, in.left = 0, length, length
	if in.head[1]&0x80 != 0 {
		in.left += 4
	}
	in.fin, in.data = in.head[0]&finBit != 0, in.head[0]&0x0F < opClose
	if in.data {
		in.open = !in.fin
	}
	return true
}

// end says whether a message ends where the bytes end that were taken.
func (in *incoming) end() bool { return in.left == 0 && in.data && in.fin }

// unfinished says whether something has begun and not ended.
func (in *incoming) unfinished() bool { return in.had > 0 || in.left > 0 || in.open }
