package testkit

import "encoding/binary"

// ClientFrame is one masked WebSocket frame of a client (RFC 6455, section 5.2). The first byte is the FIN bit and the opcode.
func ClientFrame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n > 0xFFFF:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	case n > 125:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = append(b, 0x80|byte(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}
