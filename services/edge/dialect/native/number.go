package native

import (
	"encoding/json"

	"google.golang.org/protobuf/encoding/protowire"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/payload"
)

// The number of a command is read apart from the rest, and only for a refusal. A mistake elsewhere in the frame must not keep the answer
// from having it: a client that waits for the number would wait for ever.

// Number reads the id of a frame as far as the frame can be read. Of two ids none counts.
func (JSON) Number(data []byte) uint32 {
	s := scanner{b: data}
	var value []byte
	if !s.eat('{') {
		return 0
	}
	for s.eat('"') {
		s.i--
		name, ok := s.passed()
		if !ok || !s.eat(':') {
			break
		}
		s.space()
		content, ok := s.passed()
		if !ok {
			break
		}
		// The name may have escapes.
		if text := ""; json.Unmarshal(name, &text) == nil && text == "id" {
			if value != nil {
				return 0
			}
			value = content
		}
		s.eat(',')
	}
	return readNumber(value)
}

// longestNumber is more than anybody writes.
const longestNumber = 64

// readNumber reads the value of id as the decoder of whole frames does.
func readNumber(value []byte) uint32 {
	if len(value) == 0 || len(value) > longestNumber {
		return 0
	}
	f, frame := new(edgev1.ClientFrame), append([]byte(`{"id":`), value...)
	if payload.Unmarshal(append(frame, '}'), f) != nil {
		return 0
	}
	return f.GetId()
}

// passed moves behind the value that begins here, and returns it. It finds the end of values that are no JSON, too. It returns false
// when the frame ends first, because the rest of the value may be missing.
func (s *scanner) passed() ([]byte, bool) {
	start, depth := s.i, 0
	for ; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case '"':
			if !s.passString() {
				return nil, false
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth == 0 { // of the object around
				return s.b[start:s.i], s.i > start
			}
			depth--
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return s.b[start:s.i], s.i > start
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			s.i++
			return s.b[start:s.i], true
		}
	}
	return nil, false
}

// passString moves to the end of the string that begins here.
func (s *scanner) passString() bool {
	for s.i++; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case '\\':
			s.i++
		case '"':
			return true
		}
	}
	return false
}

// Number reads the id of a frame up to where it stops being protobuf. Of several ids the last one counts, as everywhere in protobuf.
func (Proto) Number(data []byte) (number uint32) {
	const field = 1
	for len(data) > 0 {
		at, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			break
		}
		data = data[n:]
		if at == field && kind == protowire.VarintType {
			if v, n := protowire.ConsumeVarint(data); n > 0 {
				number = uint32(v) // cut as the generated decoder cuts it
			}
		}
		if n = protowire.ConsumeFieldValue(at, kind, data); n < 0 {
			break
		}
		data = data[n:]
	}
	return number
}
