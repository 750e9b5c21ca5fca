package payload

import (
	"errors"
	"strconv"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	minSeconds  = -62135596800 // 0001-01-01T00:00:00Z
	maxSeconds  = 253402300799 // 9999-12-31T23:59:59Z
	maxDuration = 315576000000 // ten thousand years, in seconds
	second      = int64(time.Second)
)

var (
	errTimestamp = errors.New("timestamp out of range")
	errDuration  = errors.New("duration out of range")
)

func parts(m protoreflect.Message) (seconds, nanos int64) {
	fields := m.Descriptor().Fields()
	return m.Get(fields.ByNumber(1)).Int(), m.Get(fields.ByNumber(2)).Int()
}

// appendTimestamp writes RFC 3339 in UTC with as many digits as needed: none, 3, 6 or 9.
func appendTimestamp(b []byte, m protoreflect.Message) ([]byte, error) {
	s, n := parts(m)
	if s < minSeconds || s > maxSeconds || n < 0 || n >= second {
		return nil, errTimestamp
	}
	b = time.Unix(s, 0).UTC().AppendFormat(append(b, '"'), "2006-01-02T15:04:05")
	return append(appendFraction(b, n), 'Z', '"'), nil
}

// appendDuration writes seconds with the unit, such as 1.500s.
func appendDuration(b []byte, m protoreflect.Message) ([]byte, error) {
	s, n := parts(m)
	if s < -maxDuration || s > maxDuration || n <= -second || n >= second || s > 0 && n < 0 || s < 0 && n > 0 {
		return nil, errDuration
	}
	b = append(b, '"')
	if s < 0 || n < 0 {
		b, s, n = append(b, '-'), -s, -n
	}
	return append(appendFraction(strconv.AppendInt(b, s, 10), n), 's', '"'), nil
}

func appendFraction(b []byte, nanos int64) []byte {
	if nanos == 0 {
		return b
	}
	digits := strconv.FormatInt(second+nanos, 10)[1:]
	for range 2 {
		if digits[len(digits)-3:] == "000" {
			digits = digits[:len(digits)-3]
		}
	}
	return append(append(b, '.'), digits...)
}
