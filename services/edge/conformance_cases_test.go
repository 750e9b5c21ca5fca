package edge_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/trunkline/trunkline/internal/testkit"
)

// conformanceCase is what a connected client writes, and what the server says to it.
type conformanceCase struct {
	name   string
	frames [][]byte
	want   string
}

// caseList collects cases.
type caseList []conformanceCase

// ends adds a case that ends the connection.
func (l *caseList) ends(want, name string, frames ...[]byte) {
	*l = append(*l, conformanceCase{name, frames, want})
}

// lives adds a case that leaves the connection as it was. A command behind it is answered, and a goodbye too. The argument want is
// what the server says before, or empty for nothing.
func (l *caseList) lives(want, name string, frames ...[]byte) {
	if want != "" {
		want += ", "
	}
	*l = append(*l, conformanceCase{name, append(slices.Clone(frames), pingCommand, goodbye), want + "pong, close 1000"})
}

var (
	pingCommand = testkit.ClientFrame(finText, `{"id":9,"ping":{}}`)
	goodbye     = testkit.ClientFrame(finClose, "\x03\xe8")
)

const (
	broken   = "close 1002"
	tooLarge = "close 1009"
	noText   = "error PROTOCOL_ERROR, error PROTOCOL_ERROR, close 1007" // the command is answered, and the connection ends
	noJSON   = "error UNSUPPORTED_MEDIA_TYPE, close 1003"
)

// unmasked is a frame without a mask.
func unmasked(first byte, payload string) []byte {
	return append([]byte{first, byte(len(payload))}, payload...)
}

// announced is a frame that says its length in a form of 2 or 8 bytes, whatever follows.
func announced(first byte, form int, length uint64, payload string) []byte {
	b := []byte{first, 0x80 | 126}
	if form == 8 {
		b[1]++
		b = binary.BigEndian.AppendUint64(b, length)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(length))
	}
	return append(b, append(make([]byte, 4), payload...)...)
}

// closeWith is a close frame with a code and a reason.
func closeWith(code int, reason string) []byte {
	return testkit.ClientFrame(finClose, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

func conformanceCases() []conformanceCase {
	var l caseList
	l.opcodes()
	l.reservedBits()
	l.masks()
	l.controlFrames()
	l.fragments()
	l.lengths()
	l.encodings()
	l.closes()
	return l
}

func (l *caseList) opcodes() {
	for _, op := range []byte{3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF} {
		for _, fin := range []byte{0x80, 0} {
			for _, payload := range []string{"", "x"} {
				l.ends(broken, fmt.Sprintf("opcode %d, fin %d, %q", op, fin, payload), testkit.ClientFrame(fin|op, payload))
			}
		}
	}
}

func (l *caseList) reservedBits() {
	for bits := byte(1); bits < 8; bits++ {
		for name, first := range map[string]byte{"text": finText, "binary": 0x82, "ping": finPing, "pong": finPong, "close": finClose} {
			l.ends(broken, fmt.Sprintf("reserved bits %d, %s", bits, name), testkit.ClientFrame(first|bits<<4, "{}"))
		}
		l.ends(broken, fmt.Sprintf("reserved bits %d, continuation", bits), testkit.ClientFrame(text, "{"), testkit.ClientFrame(finMore|bits<<4, "}"))
	}
}

func (l *caseList) masks() {
	for name, first := range map[string]byte{"text": finText, "binary": 0x82, "ping": finPing, "pong": finPong, "close": finClose} {
		l.ends(broken, "no mask, "+name, unmasked(first, "{}"))
		l.ends(broken, "no mask, empty "+name, unmasked(first, ""))
	}
	l.ends(broken, "no mask, continuation", testkit.ClientFrame(text, "{"), unmasked(finMore, "}"))
	l.ends(broken, "no mask, empty continuation", testkit.ClientFrame(text, "{"), unmasked(finMore, ""))
	l.lives("pong", "a mask of zeros", announced(finText, 2, 18, `{"id":9,"ping":{}}`))
}

func (l *caseList) controlFrames() {
	for name, first := range map[string]byte{"ping": finPing, "pong": finPong, "close": finClose} {
		long := strings.Repeat("x", 126)
		l.ends(broken, name+" of 126 bytes", testkit.ClientFrame(first, long))
		l.ends(broken, name+" of 126 bytes in 8", announced(first, 8, 126, long))
		l.ends(broken, name+" that announces 65,535 bytes", announced(first, 2, 0xFFFF, ""))
		l.ends(broken, name+" that announces 2^62 bytes", announced(first, 8, 1<<62, ""))
		l.ends(broken, name+" of 2 bytes, length in 2", announced(first, 2, 2, "\x03\xe8"))
		l.ends(broken, name+" of 2 bytes, length in 8", announced(first, 8, 2, "\x03\xe8"))
		l.ends(broken, name+" in fragments", testkit.ClientFrame(first&0x7F, "\x03\xe8"))
		l.ends(broken, name+" in fragments, empty", testkit.ClientFrame(first&0x7F, ""))
	}
	for _, payload := range []string{"", "x", "\x00\xff\xfe", strings.Repeat("p", 125)} {
		answer := fmt.Sprintf("pong %q", payload)
		l.lives(answer, fmt.Sprintf("ping %.4q", payload), testkit.ClientFrame(finPing, payload))
		l.lives(answer, fmt.Sprintf("ping %.4q between fragments", payload),
			testkit.ClientFrame(text, `{"id":9,`), testkit.ClientFrame(finPing, payload), testkit.ClientFrame(finMore, `"ping":{}}`))
		l.lives("", fmt.Sprintf("pong %.4q", payload), testkit.ClientFrame(finPong, payload))
		l.lives("", fmt.Sprintf("pongs %.4q", payload), slices.Repeat([][]byte{testkit.ClientFrame(finPong, payload)}, 5)...)
		l.lives("pong", fmt.Sprintf("pong %.4q between fragments", payload),
			testkit.ClientFrame(text, `{"id":9,`), testkit.ClientFrame(finPong, payload), testkit.ClientFrame(finMore, `"ping":{}}`))
		l.lives(answer, fmt.Sprintf("pings before %.4q", payload), testkit.ClientFrame(finPing, "a"), testkit.ClientFrame(finPing, "b"), testkit.ClientFrame(finPing, payload))
	}
	for i := range *l { // a command in fragments is answered too
		if c := &(*l)[i]; strings.HasPrefix(c.name, "ping ") && strings.HasSuffix(c.name, "between fragments") {
			c.want = strings.Replace(c.want, ", pong, close", ", pong, pong, close", 1)
		}
	}
}

func (l *caseList) fragments() {
	for name, first := range map[string]byte{"text": text, "binary": 2} {
		for second, op := range map[string]byte{"text": text, "binary": 2} {
			l.ends(broken, second+" in unfinished "+name, testkit.ClientFrame(first, "{"), testkit.ClientFrame(op, "}"))
			l.ends(broken, "whole "+second+" in unfinished "+name, testkit.ClientFrame(first, "{"), testkit.ClientFrame(0x80|op, "}"))
			l.ends(broken, "empty "+second+" in unfinished, empty "+name, testkit.ClientFrame(first, ""), testkit.ClientFrame(op, ""))
		}
	}
	for _, payload := range []string{"", "x"} {
		l.ends(broken, fmt.Sprintf("continuation of nothing, %q", payload), testkit.ClientFrame(finMore, payload))
		l.ends(broken, fmt.Sprintf("unfinished continuation of nothing, %q", payload), testkit.ClientFrame(more, payload))
		l.ends("pong, "+broken, fmt.Sprintf("continuation of what has ended, %q", payload), pingCommand, testkit.ClientFrame(finMore, payload))
		l.ends("pong, "+broken, fmt.Sprintf("continuation of what ended in fragments, %q", payload),
			testkit.ClientFrame(text, `{"id":9,`), testkit.ClientFrame(finMore, `"ping":{}}`), testkit.ClientFrame(finMore, payload))
	}
	command := `{"id":9,"ping":{}}`
	for _, n := range []int{1, 2, 5, len(command)} {
		frames := [][]byte{testkit.ClientFrame(text, "")}
		for b := range slices.Chunk([]byte(command), n) {
			frames = append(frames, testkit.ClientFrame(more, string(b)))
		}
		l.lives("pong", fmt.Sprintf("fragments of %d bytes", n), append(frames, testkit.ClientFrame(finMore, ""))...)
	}
	empty := append([][]byte{testkit.ClientFrame(text, command)}, slices.Repeat([][]byte{testkit.ClientFrame(more, "")}, 20)...)
	l.lives("pong", "empty fragments", append(empty, testkit.ClientFrame(finMore, ""))...)
	l.ends(noJSON, "binary in fragments", testkit.ClientFrame(2, "x"), testkit.ClientFrame(finMore, "y"))
	l.ends(noJSON, "binary", testkit.ClientFrame(0x82, "x"))
	l.ends(noJSON, "empty binary", testkit.ClientFrame(0x82, ""))
}

func (l *caseList) lengths() {
	command := func(n int) string { return `{"id":9,"ping":{}}` + strings.Repeat(" ", n-18) }
	for _, n := range []int{18, 125, 126, 127, 128, frameLimit - 1, frameLimit} {
		l.lives("pong", fmt.Sprintf("%d bytes", n), testkit.ClientFrame(finText, command(n)))
		l.lives("pong", fmt.Sprintf("%d bytes, length in 8", n), announced(finText, 8, uint64(n), command(n)))
		l.lives("pong", fmt.Sprintf("%d bytes in fragments", n), testkit.ClientFrame(text, command(n)[:n/2]), testkit.ClientFrame(finMore, command(n)[n/2:]))
	}
	for _, n := range []int{frameLimit + 1, 2 * frameLimit} {
		l.ends(tooLarge, fmt.Sprintf("%d bytes", n), testkit.ClientFrame(finText, command(n)))
		l.ends(tooLarge, fmt.Sprintf("%d bytes, only announced", n), announced(finText, 2, uint64(n), ""))
		l.ends(tooLarge, fmt.Sprintf("%d bytes in fragments", n), testkit.ClientFrame(text, command(n)[:n/2]), testkit.ClientFrame(finMore, command(n)[n/2:]))
		l.ends(tooLarge, fmt.Sprintf("%d bytes of binary", n), testkit.ClientFrame(0x82, command(n)))
	}
	for name, n := range map[string]uint64{"2^40": 1 << 40, "2^63 - 1": 1<<63 - 1, "2^63": 1 << 63, "2^64 - 1": 1<<64 - 1} {
		l.ends(tooLarge, name+" bytes announced", announced(finText, 8, n, ""))
		l.ends(tooLarge, name+" bytes announced for a fragment", testkit.ClientFrame(text, "{"), announced(finMore, 8, n, ""))
	}
}

// notUTF8 are texts that break UTF-8 (RFC 3629): stray and missing bytes, overlong forms, surrogates, beyond the last character.
var notUTF8 = []string{
	"\x80", "\xBF", "\xC0\xAF", "\xC1\xBF", "\xC2", "\xC2\x41", "\xC3\x28", "\xDF", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xE1\x80", "\xE2\x28\xA1",
	"\xED\xA0\x80", "\xED\xAD\xBF", "\xED\xBF\xBF", "\xEF\xBF", "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF0\x9F\x92", "\xF0\x28\x8C\xBC",
	"\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF8\x88\x80\x80\x80", "\xFC\x84\x80\x80\x80\x80", "\xFE", "\xFF", "\xFE\xFE\xFF\xFF",
}

// isUTF8 are the first and last characters of each length, and some that look as if they were none.
var isUTF8 = []string{
	"\x7F", "\u0080", "\u07FF", "\u0800", "\uD7FF", "\uE000", "\uFFFD", "\uFFFE", "\uFFFF", "\U00010000", "\U0010FFFF", "κόσμε", "\uFEFFx",
}

func (l *caseList) encodings() {
	for _, bad := range notUTF8 {
		message := `{"id":9,"ping":{}}` + bad
		l.ends(noText, fmt.Sprintf("text %q", bad), testkit.ClientFrame(finText, message))
		l.ends(noText, fmt.Sprintf("text %q in the last fragment", bad), testkit.ClientFrame(text, message[:18]), testkit.ClientFrame(finMore, bad))
		l.ends(broken, fmt.Sprintf("a goodbye that says %q", bad), closeWith(1000, bad))
	}
	for _, good := range isUTF8 {
		message := fmt.Sprintf(`{"id":9,"publish":{"to":"channels/x","data":%q}}`, "?")
		message = strings.Replace(message, "?", good, 1)
		l.lives("published", fmt.Sprintf("text %+q", good), testkit.ClientFrame(finText, message))
		cut := strings.Index(message, good) + 1 // within the character
		l.lives("published", fmt.Sprintf("text %+q, cut", good), testkit.ClientFrame(text, message[:cut]), testkit.ClientFrame(finMore, message[cut:]))
		l.ends("close 1000", fmt.Sprintf("a goodbye that says %+q", good), closeWith(1000, good))
	}
}

func (l *caseList) closes() {
	l.ends("close", "a goodbye without a code", testkit.ClientFrame(finClose, ""))
	l.ends(broken, "a goodbye of one byte", testkit.ClientFrame(finClose, "\x03"))
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4401, 4999} {
		l.ends(fmt.Sprintf("close %d", code), fmt.Sprintf("a goodbye with %d", code), closeWith(code, ""))
		l.ends(fmt.Sprintf("close %d", code), fmt.Sprintf("a goodbye with %d and 123 bytes", code), closeWith(code, strings.Repeat("r", 123)))
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		l.ends(broken, fmt.Sprintf("a goodbye with %d", code), closeWith(code, ""))
		l.ends(broken, fmt.Sprintf("a goodbye with %d and a reason", code), closeWith(code, "reason"))
	}
	l.ends("close 1000", "a command after the goodbye", goodbye, pingCommand)
	l.ends("close 1000", "a ping after the goodbye", goodbye, testkit.ClientFrame(finPing, "x"))
	l.ends("close 1000", "two goodbyes", goodbye, goodbye)
	l.ends("close 1000", "a broken frame after the goodbye", goodbye, unmasked(finText, "{}"))
	l.ends("close 1000", "a goodbye in an unfinished message", testkit.ClientFrame(text, "{"), goodbye)
	l.ends(broken, "a goodbye of one byte in an unfinished message", testkit.ClientFrame(text, "{"), testkit.ClientFrame(finClose, "x"))
	l.ends("pong, close 1000", "a command and a goodbye", pingCommand, goodbye)
	l.ends(`pong "x", close 1000`, "a ping and a goodbye", testkit.ClientFrame(finPing, "x"), goodbye)
}
