package publish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// patch is a JSON merge patch (RFC 7396), or a value in one. It is read once, however deep it is.
type patch struct {
	raw     []byte // without white space
	members map[string]*patch
	order   []*patch // of members, as they came
	key     []byte   // as it is spelled, of a member
	met     bool     // in the object that is patched
}

// isObject says whether the value patches members and does not replace.
func (p *patch) isObject() bool { return p.raw[0] == '{' }

// isNull says whether the value removes.
func (p *patch) isNull() bool { return p.raw[0] == 'n' }

// mergePatch returns an object after a patch. It reads both once: the work grows with their sizes and not with their depth. Members
// keep their order, and new ones follow them.
func mergePatch(object, change []byte) ([]byte, error) {
	var target, compact bytes.Buffer
	if err := errors.Join(json.Compact(&target, object), json.Compact(&compact, change)); err != nil {
		return nil, fmt.Errorf("merge a patch: %w", err)
	}
	if target.Bytes()[0] != '{' || compact.Bytes()[0] != '{' {
		return nil, errors.New("merge a patch: not an object")
	}
	p, _ := readPatch(compact.Bytes(), 0)
	out := make([]byte, 0, target.Len()+compact.Len())
	out, _ = p.apply(out, target.Bytes(), 0)
	return out, nil
}

// readPatch reads the value at an index of valid JSON without white space, and returns where it ends.
func readPatch(b []byte, at int) (*patch, int) {
	if b[at] != '{' {
		end := endOf(b, at)
		return &patch{raw: b[at:end]}, end
	}
	p, i := &patch{members: make(map[string]*patch)}, at+1
	for b[i] != '}' {
		if b[i] == ',' {
			i++
		}
		colon := endOf(b, i)
		key := b[i:colon]
		var member *patch
		member, i = readPatch(b, colon+1)
		name := nameOf(key)
		if old := p.members[string(name)]; old != nil { // said twice: the last one counts
			member.key = old.key
			*old = *member
			continue
		}
		member.key = key
		p.members[string(name)] = member
		p.order = append(p.order, member)
	}
	p.raw = b[at : i+1]
	return p, i + 1
}

// apply appends the object at an index of b after the patch, and returns where the object ends in b.
func (p *patch) apply(out, b []byte, at int) ([]byte, int) {
	out = append(out, '{')
	first, i := len(out), at+1
	for b[i] != '}' {
		if b[i] == ',' {
			i++
		}
		colon := endOf(b, i)
		key, value := b[i:colon], colon+1
		member := p.members[string(nameOf(key))]
		if member != nil {
			member.met = true
		}
		if member != nil && member.isObject() && b[value] == '{' {
			out, i = member.apply(begin(out, first, key), b, value)
			continue
		}
		i = endOf(b, value)
		switch {
		case member == nil:
			out = append(begin(out, first, key), b[value:i]...)
		case !member.isNull():
			out = member.appendTo(begin(out, first, key))
		}
	}
	return append(p.appendNew(out, first), '}'), i + 1
}

// appendTo appends the value as it is where nothing is patched: an object without what it removes.
func (p *patch) appendTo(out []byte) []byte {
	if !p.isObject() {
		return append(out, p.raw...)
	}
	out = append(out, '{')
	return append(p.appendNew(out, len(out)), '}')
}

// appendNew appends the members that were not met.
func (p *patch) appendNew(out []byte, first int) []byte {
	for _, member := range p.order {
		if !member.met && !member.isNull() {
			out = member.appendTo(begin(out, first, member.key))
		}
	}
	return out
}

// begin appends the name of a member, behind a comma unless it is the first.
func begin(out []byte, first int, key []byte) []byte {
	if len(out) > first {
		out = append(out, ',')
	}
	return append(append(out, key...), ':')
}

// endOf returns where the value at an index of valid JSON without white space ends.
func endOf(b []byte, at int) int {
	switch b[at] {
	case '"':
		return endOfString(b, at)
	case '{', '[':
		depth := 0
		for i := at; ; i++ {
			switch b[i] {
			case '"':
				i = endOfString(b, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for at < len(b) && b[at] != ',' && b[at] != '}' && b[at] != ']' {
		at++
	}
	return at
}

func endOfString(b []byte, at int) int {
	for i := at + 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// nameOf returns a member's name as it reads. Two spellings of one name are the same member.
func nameOf(key []byte) []byte {
	if bytes.IndexByte(key, '\\') < 0 {
		return key[1 : len(key)-1]
	}
	var name string
	if json.Unmarshal(key, &name) != nil {
		return key
	}
	return []byte(name)
}
