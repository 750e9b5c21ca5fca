package wire

import (
	"encoding/binary"
)

// HeaderRoom is the longest header of an unmasked frame (RFC 6455, section 5.2).
const HeaderRoom = 10

// opcodes of control frames (RFC 6455, section 11.8).
const (
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// finBit marks the last, here the only, frame of a message.
const finBit = 0x80

// Frame encodes a payload behind room for its header and returns the whole frame. The function encode appends to its argument
// and returns nil when there is nothing to send. Then Frame returns nil too.
func Frame(op byte, size int, encode func(dst []byte) []byte) []byte {
	buf := make([]byte, HeaderRoom, HeaderRoom+size)
	buf = encode(buf)
	if buf == nil {
		return nil
	}
	return Seal(op, buf)
}

// Seal writes the header right before the payload that stands behind HeaderRoom, and returns the frame.
func Seal(op byte, buf []byte) []byte {
	n := len(buf) - HeaderRoom
	start := HeaderRoom - 2
	switch {
	case n > 0xFFFF:
		start = HeaderRoom - 10
		buf[start+1] = 127
		binary.BigEndian.PutUint64(buf[start+2:], uint64(n)) // a length is not negative
	case n > 125:
		start = HeaderRoom - 4
		buf[start+1] = 126
		binary.BigEndian.PutUint16(buf[start+2:], uint16(n)) // checked above
	default:
		buf[start+1] = byte(n) // at most 125
	}
	buf[start] = finBit | op
	return buf[start:]
}

// controlFrame builds a close, ping or pong frame; the payload is cut at 125 bytes (RFC 6455, section 5.5).
func controlFrame(op byte, payload []byte) []byte {
	if len(payload) > 125 {
		payload = payload[:125]
	}
	return append([]byte{finBit | op, byte(len(payload))}, payload...) // at most 125
}

// CloseFrame builds a close frame; code 0 makes one without a code.
func CloseFrame(code int, text string) []byte {
	if code == 0 {
		return controlFrame(opClose, nil)
	}
	if len(text) > 123 {
		text = text[:123]
	}
	payload := binary.BigEndian.AppendUint16(nil, uint16(code)) // close codes are below 5000
	return controlFrame(opClose, append(payload, text...))
}

// PingFrame is the same for everybody.
var PingFrame = controlFrame(opPing, nil)

// frameLength is how long the frame is that p begins with, of those that a server sends. It is the length of p when p is
// something else, such as the answer of a handshake.
func frameLength(p []byte) int {
	if len(p) < 2 || p[0] < finBit {
		return len(p)
	}
	switch {
	case p[1] == 127 && len(p) >= HeaderRoom:
		return HeaderRoom + int(binary.BigEndian.Uint64(p[2:])) // as Seal wrote it
	case p[1] == 126 && len(p) >= 4:
		return 4 + int(binary.BigEndian.Uint16(p[2:]))
	}
	return 2 + int(p[1])
}

// frameRest is how much of whole frames is missing after the first n bytes to the end of a frame. The first of them has
// begun before, and ends after begun bytes; 0 when it has not.
func frameRest(p []byte, begun, n int) int {
	end := begun
	for end < n {
		end += frameLength(p[end:])
	}
	return end - n
}
