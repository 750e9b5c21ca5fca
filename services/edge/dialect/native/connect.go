package native

import (
	"math"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// decodeConnect reads a connect frame as clients write it: {"id":1,"connect":{…}} with the members' own names, plain ASCII in the strings and
// nothing twice. It returns false for everything else, right or wrong, which the decoder of all frames judges. After a crash of an
// edge everybody sends one at the same time, and the decoder that reflects costs a tenth of a connection.
func decodeConnect(data []byte) (*edgev1.ClientFrame, bool) {
	s := scanner{b: data}
	f := new(edgev1.ClientFrame)
	if !s.object(func(key string) int {
		switch key {
		case "id":
			s.space()
			n, ok := s.digits(math.MaxUint32)
			f.Id = uint32(n)
			return member(1, ok)
		case "connect":
			c := new(edgev1.Connect)
			f.Command = &edgev1.ClientFrame_Connect{Connect: c}
			return member(2, s.connect(c))
		}
		return 0
	}) {
		return nil, false
	}
	s.space()
	return f, s.i == len(data) && f.GetConnect() != nil
}

// member is what a member's reader returns: its bit, or 0 when it cannot be read here.
func member(bit int, ok bool) int {
	if !ok {
		return 0
	}
	return bit
}

// scanner reads the part of JSON (RFC 8259) that decodeConnect takes.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) connect(c *edgev1.Connect) bool {
	return s.object(func(key string) int {
		var ok bool
		switch key {
		case "token":
			c.Token, ok = s.text()
			return member(1, ok)
		case "name":
			c.Name, ok = s.text()
			return member(2, ok)
		case "ticket":
			c.Ticket, ok = s.text()
			return member(4, ok)
		case "subscriptions":
			return member(8, s.array(func() bool {
				sub := new(edgev1.Subscribe)
				c.Subscriptions = append(c.Subscriptions, sub)
				return s.subscribe(sub)
			}))
		}
		return 0
	})
}

func (s *scanner) subscribe(c *edgev1.Subscribe) bool {
	return s.object(func(key string) int {
		var ok bool
		switch key {
		case "address":
			c.Address, ok = s.text()
			return member(1, ok)
		case "after":
			c.After = new(publishv1.Position)
			return member(2, s.position(c.GetAfter()))
		case "fromBeginning":
			c.FromBeginning, ok = s.boolean()
			return member(4, ok)
		case "fromLast":
			c.FromLast, ok = s.boolean()
			return member(8, ok)
		case "presence":
			c.Presence, ok = s.boolean()
			return member(16, ok)
		}
		return 0
	})
}

func (s *scanner) position(p *publishv1.Position) bool {
	return s.object(func(key string) int {
		var ok bool
		switch key {
		case "epoch":
			p.Epoch, ok = s.text()
			return member(1, ok)
		case "offset": // 64-bit numbers are strings, and may be numbers (ProtoJSON)
			quoted := s.eat('"') // which skips white space
			p.Offset, ok = s.digits(math.MaxUint64)
			return member(2, ok && (!quoted || s.next() == '"' && s.step()))
		}
		return 0
	})
}

func (s *scanner) next() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

func (s *scanner) step() bool {
	s.i++
	return true
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\n' || s.b[s.i] == '\r' || s.b[s.i] == '\t') {
		s.i++
	}
}

// eat takes a character when it comes next, after white space.
func (s *scanner) eat(c byte) bool {
	s.space()
	return s.next() == c && s.step()
}

// object reads members until the end; value returns the member's bit, or 0 to give up.
func (s *scanner) object(value func(key string) int) bool {
	if !s.eat('{') {
		return false
	}
	if s.eat('}') {
		return true
	}
	for seen := 0; ; {
		key, ok := s.raw()
		if !ok || !s.eat(':') {
			return false
		}
		bit := value(string(key))
		if bit == 0 || seen&bit != 0 {
			return false
		}
		seen |= bit
		if s.eat('}') {
			return true
		}
		if !s.eat(',') {
			return false
		}
	}
}

func (s *scanner) array(element func() bool) bool {
	if !s.eat('[') {
		return false
	}
	if s.eat(']') {
		return true
	}
	for {
		if !element() {
			return false
		}
		if s.eat(']') {
			return true
		}
		if !s.eat(',') {
			return false
		}
	}
}

func (s *scanner) text() (string, bool) {
	b, ok := s.raw()
	return string(b), ok
}

// raw reads a string without escapes and of ASCII alone, and returns its bytes.
func (s *scanner) raw() ([]byte, bool) {
	if !s.eat('"') {
		return nil, false
	}
	for start := s.i; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[start : s.i-1], true
		case c < ' ' || c == '\\' || c > '~':
			return nil, false
		}
	}
	return nil, false
}

// digits reads a number without sign, fraction, exponent and leading zeros, up to a limit.
func (s *scanner) digits(limit uint64) (uint64, bool) {
	start, n := s.i, uint64(0)
	for ; s.next() >= '0' && s.next() <= '9'; s.i++ {
		d := uint64(s.next() - '0')
		if n > (limit-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	if s.i == start || s.b[start] == '0' && s.i > start+1 {
		return 0, false
	}
	switch s.next() {
	case '.', 'e', 'E':
		return 0, false
	}
	return n, true
}

func (s *scanner) boolean() (value, ok bool) {
	s.space()
	for _, word := range []string{"true", "false"} {
		if rest := s.b[s.i:]; len(rest) >= len(word) && string(rest[:len(word)]) == word {
			s.i += len(word)
			return word == "true", true
		}
	}
	return false, false
}
