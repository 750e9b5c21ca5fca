package redis

import (
	"context"
	"strconv"

	"github.com/trunkline/trunkline/internal/bus"
)

// Command carries out one command on the values of an owner.
func (s *Store) Command(ctx context.Context, c bus.ValueCommand) (bus.ValueResult, error) {
	call := s.valueCall(&c)
	cmd, err := s.run(ctx, call.script, call.keys, call.args...)
	if err != nil {
		return bus.ValueResult{}, unavailable(err)
	}
	answer, err := cmd.StringSlice()
	if err != nil {
		return bus.ValueResult{}, failure(err)
	}
	switch at(answer, 0) {
	case "text":
		return bus.ValueResult{Text: at(answer, 1)}, nil
	case "missing":
		return bus.ValueResult{Missing: true}, nil
	case "limit":
		return bus.ValueResult{}, bus.ErrValueLimit.With("", map[string]string{"limit": strconv.Itoa(c.Limit)})
	case "nan":
		return bus.ValueResult{}, bus.ErrValueNotNumber
	}
	// What is left is a number, whatever the command was.
	n, err := strconv.ParseInt(at(answer, 1), 10, 64)
	if err != nil {
		return bus.ValueResult{}, s.misread(err, "the values of an owner")
	}
	return bus.ValueResult{Number: n}, nil
}

// valueCall is the call of a command: a full server refuses only those that may make a key.
func (s *Store) valueCall(c *bus.ValueCommand) call {
	v := call{script: valueScript, keys: []string{s.keys.values(c.Owner)}, args: []any{c.Verb}}
	switch c.Verb {
	case bus.ValueGet, bus.ValueTTL:
		v.script = valueReadScript
	case bus.ValueDel, bus.ValueExpire:
		v.script = valueFreeScript
		v.args = append(v.args, c.TTL.Milliseconds(), c.Keep.Milliseconds())
	default:
		v.args = append(v.args, c.Value, c.TTL.Milliseconds(), c.Limit, c.Keep.Milliseconds())
	}
	for _, k := range c.Keys {
		v.args = append(v.args, k)
	}
	return v
}
