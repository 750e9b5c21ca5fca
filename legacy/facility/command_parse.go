package facility

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/trunkline/trunkline/internal/bus"
)

const (
	// maxKey and maxValue bound a key and a value, in bytes.
	maxKey, maxValue = 256, 4 << 10
	// maxKeys is how many keys one command may name.
	maxKeys = 32
	// maxSeconds is the longest time to live, in seconds.
	maxSeconds = 30 * 24 * 3600
)

// parse reads a command, as Redis understands it.
func (s *CommandService) parse(line string) (bus.ValueCommand, error) {
	var c bus.ValueCommand
	words, err := split(line)
	if err != nil {
		return c, invalid("%v", err)
	}
	c.Verb = strings.ToUpper(words[0])
	if !slices.Contains(s.cfg.Allow, c.Verb) {
		allowed := strings.Join(s.cfg.Allow, ", ")
		return c, bus.ErrCommandRefused.With(fmt.Sprintf("the command %.32q is not allowed here; allowed are %s", c.Verb, allowed),
			map[string]string{"allowed": allowed})
	}
	if err := arguments(&c, words[1:]); err != nil {
		return c, invalid("%v", err)
	}
	for _, k := range c.Keys {
		if k == "" || len(k) > maxKey || !utf8.ValidString(k) {
			return c, invalid("the key %.32q is not 1 to %d bytes of UTF-8", k, maxKey)
		}
	}
	if len(c.Value) > maxValue {
		return c, invalid("the value has %d bytes, the limit is %d", len(c.Value), maxValue)
	}
	return c, nil
}

func invalid(format string, args ...any) error {
	var bad bus.Invalid
	bad.Add("command", format, args...)
	return bad.Err()
}

// usage is what follows each verb.
var usage = map[string]string{
	bus.ValueGet: "GET key", bus.ValueSet: "SET key value [EX seconds]", bus.ValueDel: "DEL key [key ...]",
	bus.ValueIncr: "INCR key", bus.ValueExpire: "EXPIRE key seconds", bus.ValueTTL: "TTL key",
}

// arguments reads what follows the verb.
func arguments(c *bus.ValueCommand, args []string) (err error) {
	wrong := fmt.Errorf("is not %s", usage[c.Verb])
	if len(args) == 0 || len(args) > maxKeys {
		return wrong
	}
	c.Keys = args[:1]
	switch rest := args[1:]; {
	case c.Verb == bus.ValueDel:
		c.Keys = args
	case c.Verb == bus.ValueSet && len(rest) == 1:
		c.Value = rest[0]
	case c.Verb == bus.ValueSet && len(rest) == 3 && strings.EqualFold(rest[1], "EX"):
		c.Value = rest[0]
		if c.TTL, err = seconds(rest[2]); err == nil && c.TTL <= 0 {
			err = errors.New("the time to live must be at least 1 second")
		}
	case c.Verb == bus.ValueExpire && len(rest) == 1:
		c.TTL, err = seconds(rest[0])
	case c.Verb == bus.ValueSet || c.Verb == bus.ValueExpire || len(rest) > 0:
		return wrong
	}
	return err
}

func seconds(s string) (time.Duration, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > maxSeconds {
		return 0, fmt.Errorf("%.32q is no whole number of seconds up to %d", s, maxSeconds)
	}
	return time.Duration(max(n, 0)) * time.Second, nil
}

// split takes a line apart at spaces. A word in double quotes may have spaces, and \" and \\ in it.
func split(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, " \t\r\n")
		if line == "" {
			break
		}
		if line[0] != '"' {
			end := strings.IndexAny(line, " \t\r\n")
			if end < 0 {
				end = len(line)
			}
			words = append(words, line[:end])
			line = line[end:]
			continue
		}
		word, rest, err := quoted(line[1:])
		if err != nil {
			return nil, err
		}
		words = append(words, word)
		line = rest
	}
	if len(words) == 0 {
		return nil, errors.New("is empty; it is one line such as SET key1 15")
	}
	return words, nil
}

// quoted reads up to the closing quote, after which a space or the end has to follow.
func quoted(s string) (word, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			if rest = s[i+1:]; rest != "" && !strings.ContainsAny(rest[:1], " \t\r\n") {
				return "", "", errors.New("has something right after a closing quote")
			}
			return b.String(), rest, nil
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errors.New("has a quote that is not closed")
}
