package resp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// Kind is the first byte of a value.
type Kind byte

// The kinds that a server sends on a connection of subscriptions.
const (
	Simple   Kind = '+'
	Error    Kind = '-'
	Integer  Kind = ':'
	Bulk     Kind = '$'
	Array    Kind = '*'
	Push     Kind = '>' // RESP 3 only
	Map      Kind = '%' // RESP 3 only; keys and values in turn
	Verbatim Kind = '=' // RESP 3 only
	Null     Kind = '_' // RESP 3 only
)

// Value is one value of the protocol. Its bytes are its own: nothing is read into them later.
type Value struct {
	Kind   Kind
	Text   []byte  // of Simple, Error, Bulk and Verbatim
	Number int64   // of Integer
	Items  []Value // of Array, Push and Map
	Absent bool    // a Bulk or an Array of the length -1
}

// ErrProtocol is something that the protocol does not allow at its place.
var ErrProtocol = errors.New("not what the Redis protocol allows here")

// Bounds of what a server has to say on a connection of subscriptions.
const (
	maxBulk  = 512 << 20 // the largest that Redis keeps
	maxItems = 1024
	maxDepth = 8
	atOnce   = 1 << 20 // larger texts take memory as they come, not as they are announced
	maxDigit = 19
)

func wrong(what string) error { return fmt.Errorf("%w: %s", ErrProtocol, what) }

// parse reads one value.
func parse(in *bufio.Reader, depth int) (Value, error) {
	kind, err := in.ReadByte()
	if err != nil {
		return Value{}, err
	}
	v := Value{Kind: Kind(kind)}
	line, err := readLine(in)
	if err != nil {
		return v, err
	}
	switch v.Kind {
	case Simple, Error:
		v.Text = append([]byte(nil), line...)
		return v, nil
	case Null:
		if len(line) > 0 {
			return v, wrong("a null with a text")
		}
		return v, nil
	case Integer:
		v.Number, err = number(line)
		return v, err
	case Bulk, Verbatim:
		return readText(in, v, line)
	case Array, Push, Map:
		return readItems(in, v, line, depth)
	}
	return v, wrong("a value of an unknown kind")
}

// readLine returns what stands before the next CR LF; it is good until the next read.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, wrong("a line that does not end")
	}
	if err != nil {
		return nil, err
	}
	n := len(line) - len("\r\n")
	if n < 0 || line[n] != '\r' {
		return nil, wrong("a line that ends without CR")
	}
	if slices.Contains(line[:n], '\r') {
		return nil, wrong("a CR inside of a line")
	}
	return line[:n], nil
}

// number reads a number in its one canonical form.
func number(line []byte) (int64, error) {
	digits := line
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > maxDigit || digits[0] == '0' && len(line) > 1 {
		return 0, wrong("a number that is none")
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, wrong("a number that is none")
		}
	}
	n, err := strconv.ParseInt(string(line), 10, 64)
	if err != nil {
		return 0, wrong("a number that is too large")
	}
	return n, nil
}

// readText reads what follows the length of a bulk string.
func readText(in *bufio.Reader, v Value, line []byte) (Value, error) {
	n, err := number(line)
	switch {
	case err != nil:
		return v, err
	case n == -1 && v.Kind == Bulk:
		v.Absent = true
		return v, nil
	case n < 0 || n > maxBulk:
		return v, wrong("a text of an impossible length")
	}
	if v.Text, err = readBytes(in, int(n)); err != nil {
		return v, err
	}
	var end [2]byte
	if _, err := io.ReadFull(in, end[:]); err != nil {
		return v, err
	}
	if end != [2]byte{'\r', '\n'} {
		return v, wrong("a text that is longer than its length")
	}
	return v, nil
}

func readBytes(in *bufio.Reader, n int) ([]byte, error) {
	b := make([]byte, min(n, atOnce))
	read := 0
	for {
		m, err := io.ReadFull(in, b[read:])
		read += m
		if err != nil {
			return nil, err
		}
		if read == n {
			return b, nil
		}
		b = append(b, make([]byte, min(n-read, len(b)))...) //nolint:makezero // it grows as it is filled
	}
}

// readItems reads what follows the number of items.
func readItems(in *bufio.Reader, v Value, line []byte, depth int) (Value, error) {
	n, err := number(line)
	switch {
	case err != nil:
		return v, err
	case n == -1 && v.Kind == Array:
		v.Absent = true
		return v, nil
	case n < 0 || n > maxItems || depth >= maxDepth:
		return v, wrong("a list of an impossible length or depth")
	case v.Kind == Push && (n == 0 || depth > 0):
		return v, wrong("a push without a kind or inside of a value")
	}
	if v.Kind == Map {
		n *= 2
	}
	v.Items = make([]Value, 0, n)
	for range n {
		item, err := parse(in, depth+1)
		if err != nil {
			return v, err
		}
		v.Items = append(v.Items, item)
	}
	return v, nil
}
