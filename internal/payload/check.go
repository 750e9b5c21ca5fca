package payload

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// scalar says what is wrong with a value of a field that is no message, or returns an empty string.
func scalar(v node, d protoreflect.FieldDescriptor) string {
	switch d.Kind() {
	case protoreflect.StringKind:
		if v.kind != isString {
			return "must be a string"
		}
	case protoreflect.BoolKind:
		if v.kind != isBool {
			return "must be true or false"
		}
	case protoreflect.BytesKind:
		if v.kind != isString || !isBase64(v.text) {
			return "must be a base64 string"
		}
	case protoreflect.EnumKind:
		return enumerator(v, d.Enum())
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		if v.kind != isNumber && v.kind != isString {
			return "must be a number"
		}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return integer(v, math.MinInt32, math.MaxInt32)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return integer(v, 0, math.MaxUint32)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return integer(v, math.MinInt64, math.MaxInt64)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return integer(v, 0, math.MaxUint64)
	}
	return ""
}

// integer accepts what protobuf's mapping accepts: a number or a string of one, whole, in range.
func integer(v node, low int64, high uint64) string {
	fault := fmt.Sprintf("must be a whole number from %d to %d", low, high)
	if v.kind != isNumber && v.kind != isString || !number.MatchString(v.text) {
		return fault
	}
	// A giant exponent would cost time, and is out of range anyway unless the number is zero.
	if _, exponent, found := strings.Cut(strings.ToLower(v.text), "e"); found {
		if e, err := strconv.Atoi(exponent); err != nil || e > 30 || e < -30 {
			return fault
		}
	}
	n, ok := new(big.Rat).SetString(v.text)
	if !ok || !n.IsInt() || n.Num().Cmp(big.NewInt(low)) < 0 || n.Num().Cmp(new(big.Int).SetUint64(high)) > 0 {
		return fault
	}
	return ""
}

var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func enumerator(v node, d protoreflect.EnumDescriptor) string {
	switch v.kind {
	case isString:
		if d.Values().ByName(protoreflect.Name(v.text)) != nil {
			return ""
		}
	case isNumber:
		return integer(v, math.MinInt32, math.MaxInt32) // an unknown number is the service's to refuse
	}
	names := make([]string, 0, d.Values().Len())
	for i := range d.Values().Len() {
		if n := d.Values().Get(i); n.Number() != 0 {
			names = append(names, string(n.Name()))
		}
	}
	return "must be one of " + strings.Join(names, ", ")
}

func isBase64(s string) bool {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	_, err := base64.RawStdEncoding.DecodeString(s)
	return err == nil && !strings.ContainsAny(s, "\r\n")
}

func isTimestamp(s string) bool {
	t, err := time.Parse(time.RFC3339Nano, s)
	return err == nil && t.Unix() >= minSeconds && t.Unix() <= maxSeconds
}

var seconds = regexp.MustCompile(`^[+-]?([0-9]+)(\.[0-9]{1,9})?s$|^[+-]?\.[0-9]{1,9}s$`)

func isDuration(s string) bool {
	m := seconds.FindStringSubmatch(s)
	if m == nil {
		return false
	}
	whole, err := strconv.ParseInt("0"+m[1], 10, 64)
	return err == nil && whole <= maxDuration
}
