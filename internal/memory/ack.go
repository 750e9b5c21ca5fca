package memory

import (
	"context"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// Ack acknowledges messages.
func (s *Store) Ack(ctx context.Context, acks []bus.Ack) []error {
	errs := make([]error, len(acks))
	for i, a := range acks {
		if err := ctx.Err(); err != nil {
			errs[i] = bus.ErrStoreUnavailable.Wrap(err)
			continue
		}
		s.with(a.To, func(c *cell, in *inbox, now time.Time) {
			w := in.deliveries[a.ID]
			if w == nil {
				errs[i] = notFound(a.To, a.ID)
				return
			}
			over := w.delivery.Reason != "" || !w.waits() && w.delivery.Scope == bus.AnyDevice || !now.Before(w.delivery.Expires)
			if over || !w.ack(a.Device, now) {
				return
			}
			if d := &w.delivery; w.waits() && (d.Scope == bus.AnyDevice || d.AckedCount >= d.SentCount) {
				in.finish(w, now)
				s.due.set(bus.Due{To: a.To, ID: a.ID}, time.Time{})
				if d.Scope == bus.AnyDevice {
					c.tell(a.To, bus.MessageDismissal, a.ID, a.Connection, now)
				}
			}
			c.changed(w, now)
		})
	}
	return errs
}

// ack notes the ack of a device; false when that changes nothing.
func (w *waiting) ack(device string, now time.Time) bool {
	v := w.device(device)
	if v != nil && (!v.Acked.IsZero() || v.Sent.IsZero()) {
		return false
	}
	if v != nil && !v.Denied.IsZero() { // it had been given it before
		v.Denied, v.Why = time.Time{}, ""
		w.delivery.DeniedCount--
	}
	w.meet(device, now)
	v = w.device(device)
	if v != nil {
		v.Acked = now
	}
	if v != nil || w.delivery.Scope == bus.AnyDevice {
		w.delivery.AckedCount++
	}
	return true
}

// MarkSent notes that messages were written to a device.
func (s *Store) MarkSent(ctx context.Context, sent []bus.Ack) error {
	if err := ctx.Err(); err != nil {
		return bus.ErrStoreUnavailable.Wrap(err)
	}
	for _, a := range sent {
		s.with(a.To, func(c *cell, in *inbox, now time.Time) {
			if w := in.deliveries[a.ID]; w != nil && w.given(a, now) {
				c.changed(w, now)
			}
		})
	}
	return nil
}

// given notes that the message was written to a device; false when that changes nothing.
func (w *waiting) given(a bus.Ack, now time.Time) bool {
	v := w.device(a.Device)
	if v != nil && (!a.Again || !v.Acked.IsZero() || !v.Denied.IsZero()) {
		return false
	}
	if a.Again || w.delivery.Deliveries == 0 { // what arrives at several devices at once was delivered once
		w.delivery.Deliveries++
	}
	if v != nil || w.meet(a.Device, now) {
		w.times[strings.Clone(a.Device)]++ // the map takes the text that it is written with
	}
	return true
}
