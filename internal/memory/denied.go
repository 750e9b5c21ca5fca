package memory

import (
	"context"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// MarkDenied notes that devices may not have messages.
func (s *Store) MarkDenied(ctx context.Context, denied []bus.Denial) error {
	if err := ctx.Err(); err != nil {
		return bus.ErrStoreUnavailable.Wrap(err)
	}
	for _, d := range denied {
		s.with(d.To, func(c *cell, in *inbox, now time.Time) {
			w := in.deliveries[d.ID]
			if w != nil && w.delivery.Ended.IsZero() && w.deny(d, now) {
				c.changed(w, now)
			}
		})
	}
	return nil
}

// deny notes the denial of a device; false when it had acknowledged or was denied before.
func (w *waiting) deny(d bus.Denial, now time.Time) bool {
	v := w.device(d.Device)
	if v != nil && (!v.Acked.IsZero() || !v.Denied.IsZero()) {
		return false
	}
	w.delivery.DeniedCount++
	w.delivery.DeniedWhy = strings.Clone(d.Sentence())
	if v == nil && w.delivery.DeniedCount <= bus.MaxDevices {
		w.delivery.Devices = append(w.delivery.Devices, bus.Device{Client: strings.Clone(d.Device)})
		w.in.bytes += deviceCost
		v = w.device(d.Device)
	}
	if v != nil {
		v.Denied, v.Why = now, w.delivery.DeniedWhy
	}
	return true
}
