package payload

// The scanner finds where values end. It is lenient inside of values: what it passes on is read
// strictly afterwards, by protojson or by json.Compact.

var errDepth = &Error{Kind: InvalidJSON, Message: "the body is nested more than 100 levels deep"}

// peek copies space and returns the next byte, or 0 at the end.
func (t *rewriter) peek() byte {
	start := t.at
	for t.at < len(t.in) {
		switch c := t.in[t.at]; c {
		case ' ', '\t', '\r', '\n':
			t.at++
		default:
			t.copy(start)
			return c
		}
	}
	t.copy(start)
	return 0
}

func (t *rewriter) copyByte() {
	t.at++
	t.copy(t.at - 1)
}

func (t *rewriter) copyValue() error {
	t.peek()
	start := t.at
	err := t.skipValue()
	t.copy(start)
	return err
}

func (t *rewriter) copy(start int) {
	if !t.reads {
		t.out = append(t.out, t.in[start:t.at]...)
	}
}

// skipValue moves behind the value that begins here.
func (t *rewriter) skipValue() error {
	if t.at == len(t.in) {
		return errSyntax
	}
	switch t.in[t.at] {
	case '"':
		return t.skipString()
	case '{', '[':
		return t.skipNested()
	}
	start := t.at
	for t.at < len(t.in) && !delimits(t.in[t.at]) {
		t.at++
	}
	if t.at == start {
		return errSyntax
	}
	return nil
}

func delimits(c byte) bool {
	switch c {
	case ',', '}', ']', ':', '"', '{', '[', ' ', '\t', '\r', '\n':
		return true
	}
	return false
}

func (t *rewriter) skipString() error {
	for t.at++; t.at < len(t.in); t.at++ {
		switch t.in[t.at] {
		case '\\':
			t.at++
		case '"':
			t.at++
			return nil
		}
	}
	t.at = len(t.in)
	return errSyntax
}

func (t *rewriter) skipNested() error {
	depth := 0
	for t.at < len(t.in) {
		switch t.in[t.at] {
		case '"':
			if err := t.skipString(); err != nil {
				return err
			}
			continue
		case '{', '[':
			if depth++; !t.free && depth+t.depth > maxDepth {
				return errDepth
			}
		case '}', ']':
			depth--
		}
		t.at++
		if depth == 0 {
			return nil
		}
	}
	return errSyntax
}
