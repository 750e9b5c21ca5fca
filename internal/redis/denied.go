package redis

import (
	"context"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// MarkDenied notes that devices may not have messages: one script for each inbox.
func (s *Store) MarkDenied(ctx context.Context, denied []bus.Denial) error {
	by := make(map[bus.Address][]bus.Denial)
	for _, d := range denied {
		by[d.To] = append(by[d.To], d)
	}
	now := time.Now().UnixMilli()
	var calls []call
	for to, list := range by {
		c := call{
			script: inboxDeniedScript,
			keys:   []string{s.keys.push(to)},
			args:   []any{now, s.publishVerb(), s.keys.delivery(to, ""), bus.MaxDevices},
		}
		for _, d := range list {
			c.args = append(c.args, d.ID, d.Device, d.Sentence(), hint(bus.MessageReceipt, d.ID, ""))
		}
		calls = append(calls, c)
	}
	cmds, err := s.runAll(ctx, calls)
	if err != nil {
		return unavailable(err)
	}
	for _, cmd := range cmds {
		if cmd.Err() != nil {
			return unavailable(cmd.Err())
		}
	}
	return nil
}

// deviceOf reads the field of a device: when it was sent the message and when it acknowledged it, and for one that was denied
// it, when that was and why, up to a semicolon.
func deviceOf(client, value string) bus.Device {
	parts := strings.SplitN(value, " ", 4)
	parts = append(parts, "", "", "")
	return bus.Device{
		Client: client, Sent: timeOf(parts[0]), Acked: timeOf(parts[1]), Denied: timeOf(parts[2]), Why: strings.TrimSuffix(parts[3], ";"),
	}
}
