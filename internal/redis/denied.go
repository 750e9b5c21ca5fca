package redis

import (
	"context"
	"slices"
	"strings"

	"github.com/trunkline/trunkline/internal/bus"
)

// MarkDenied notes that devices may not have messages: one script for each inbox.
func (s *Store) MarkDenied(ctx context.Context, denied []bus.Denial) error {
	// Inboxes may be in different slots, and a script names keys of one.
	by := make(map[bus.Address][]bus.Denial)
	for _, d := range denied {
		by[d.To] = append(by[d.To], d)
	}
	var calls []call
	for to, list := range by {
		for part := range slices.Chunk(list, ackChunk) {
			c := call{
				script: inboxDeniedScript,
				keys:   []string{s.keys.push(to)},
				args:   []any{s.publishVerb(), s.keys.delivery(to, ""), bus.MaxDevices},
			}
			for _, d := range part {
				c.args = append(c.args, d.ID, d.Device, d.Sentence(), hint(bus.MessageReceipt, d.ID, ""))
			}
			calls = append(calls, c)
		}
	}
	return s.note(ctx, calls)
}

// deviceOf reads the field of a device: when it was given the message, when it acknowledged it, and how often it was given it.
// The field also says when the device was denied the message, and why.
func deviceOf(client, value string) bus.Device {
	parts := strings.SplitN(value, " ", 5)
	parts = append(parts, "", "", "", "")
	return bus.Device{Client: client, Sent: timeOf(parts[0]), Acked: timeOf(parts[1]), Denied: timeOf(parts[3]), Why: parts[4]}
}
