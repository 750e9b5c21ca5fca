package wire

import (
	"encoding/binary"
	"syscall"
)

// intake is what has come from a client and was not read yet. It belongs to a worker, not to a connection, so a parked
// connection keeps no buffer of its own. That works because gorilla is handed no byte beyond the end of a frame. So nothing is
// left in gorilla's buffer between two messages.
type intake struct {
	buf  [4 << 10]byte
	r, w int
	left uint64 // of the frame that gorilla is being handed

	n   int
	err error
	now func(fd uintptr) bool // one read that does not wait
}

func newIntake() *intake {
	in := &intake{}
	in.now = func(fd uintptr) bool {
		in.n, in.err = syscall.Read(int(fd), in.buf[:])
		return true
	}
	return in
}

// glanced is what a look at a connection found.
type glanced int

const (
	foundNothing glanced = iota // to park for
	foundPing
	foundPong
	foundFrame // for gorilla, which also gets whatever is unusual
)

// glance looks at what has come, between two messages, without waiting. It takes a ping, whose payload it returns, or a pong.
func (in *intake) glance(raw syscall.RawConn) (glanced, []byte) {
	// Only an empty buffer is filled here, because the read overwrites it from its start.
	if in.r == in.w {
		in.r, in.w = 0, 0
		if raw.Read(in.now) != nil {
			return foundFrame, nil // gorilla's read finds the error again
		}
		switch {
		case in.err == syscall.EAGAIN || in.err == syscall.EINTR: //nolint:errorlint // a system call returns them bare
			return foundNothing, nil
		case in.err != nil || in.n <= 0:
			return foundFrame, nil
		}
		in.w = in.n
	}
	b := in.buf[in.r:in.w]
	const masked = 0x80
	// A frame that is not whole, not masked or too long for a control frame is judged by gorilla.
	if len(b) < 6 || b[1] < masked || b[1] > masked+125 || len(b) < 6+int(b[1]-masked) {
		return foundFrame, nil
	}
	n := int(b[1] - masked)
	switch b[0] {
	case finBit | opPong:
		in.r += 6 + n
		return foundPong, nil
	case finBit | opPing:
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = b[6+i] ^ b[2+i%4] // unmasked (RFC 6455, section 5.3)
		}
		in.r += 6 + n
		return foundPing, payload
	}
	return foundFrame, nil
}

// read is what gorilla reads with: no byte beyond the end of a frame.
func (in *intake) read(c *Conn, p []byte) (int, error) {
	for in.left == 0 && !in.header() {
		if err := in.more(c); err != nil {
			return 0, err
		}
	}
	if uint64(len(p)) > in.left {
		p = p[:in.left]
	}
	if in.r == in.w {
		if len(p) >= len(in.buf) { // a large frame goes straight where it belongs
			c.late()
			n, err := c.Conn.Read(p)
			in.left -= uint64(n) // not negative
			return n, err
		}
		if err := in.more(c); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.buf[in.r:in.w])
	in.r += n
	in.left -= uint64(n) // not negative
	return n, nil
}

// header reads how long the next frame is, its header included (RFC 6455, section 5.2); false when not all of the
// header has come. What it says is not judged here: gorilla sees the same bytes.
func (in *intake) header() bool {
	b := in.buf[in.r:in.w]
	if len(b) < 2 {
		return false
	}
	size, length := uint64(2), uint64(b[1]&0x7F)
	if b[1]&0x80 != 0 {
		size += 4
	}
	switch {
	case length == 126 && len(b) < 4, length == 127 && len(b) < 10:
		return false
	case length == 126:
		size, length = size+2, uint64(binary.BigEndian.Uint16(b[2:]))
	case length == 127:
		size, length = size+8, binary.BigEndian.Uint64(b[2:])&(1<<63-1)
	}
	in.left = size + length
	return true
}

// more waits for bytes.
func (in *intake) more(c *Conn) error {
	c.late()
	// The part of a header that has come moves to the front, so that the rest has room behind it.
	if in.r > 0 {
		copy(in.buf[:], in.buf[in.r:in.w])
		in.r, in.w = 0, in.w-in.r
	}
	n, err := c.Conn.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil
	}
	return err
}
