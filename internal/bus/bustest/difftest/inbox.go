package difftest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/internal/bus"
)

func (m *machine) mail(rt *rapid.T) {
	p := bus.Publication{Message: m.next(rapid.SampledFrom(m.users).Draw(rt, "to"))}
	p.Ack = &bus.AckTerms{Scope: bus.AnyDevice, Timeout: units(2), Keep: units(4), Limit: 6}
	if rapid.Bool().Draw(rt, "each device") {
		p.Ack.Scope = bus.EachDevice
	}
	switch rapid.IntRange(0, 4).Draw(rt, "kind") {
	case 0:
		p.Ack.CollapseKey = "c"
	case 1:
		p.Ack.MaxDeliveries, p.Ack.DeadLetter = 1, m.channels[0]
	case 2: // it ends before anybody can have it
		p.Ack.Timeout, p.Ack.Keep = 0, 0
	}
	p.Message.Ack = p.Ack.Scope
	m.sent[p.Message.To] = append(m.sent[p.Message.To], p.Message.ID)
	m.send(rt, p)
}

func (m *machine) ack(rt *rapid.T) {
	to := rapid.SampledFrom(m.users).Draw(rt, "to")
	ids := append([]string{"unknown"}, m.sent[to]...)
	device := rapid.SampledFrom([]string{"phone", "desk"}).Draw(rt, "device")
	n := rapid.IntRange(1, 3).Draw(rt, "n")
	acks := make([]bus.Ack, n)
	for i := range acks {
		acks[i] = bus.Ack{To: to, ID: rapid.SampledFrom(ids).Draw(rt, "id"), Device: device, Connection: device}
	}
	before := m.dismissals(acks)
	m.both(rt, "ack", func(_ int, s bus.Store) string {
		var out strings.Builder
		for _, err := range s.Ack(context.Background(), acks) {
			out.WriteString(reason(err) + " ")
		}
		return out.String()
	})
	m.heard(rt, before)
}

// deny denies a message to a device.
func (m *machine) deny(rt *rapid.T) {
	to := rapid.SampledFrom(m.users).Draw(rt, "to")
	d := bus.Denial{
		To: to, ID: rapid.SampledFrom(append([]string{"unknown"}, m.sent[to]...)).Draw(rt, "id"),
		Device: rapid.SampledFrom([]string{"phone", "desk"}).Draw(rt, "device"), Why: fmt.Sprint("why ", rapid.IntRange(0, 1).Draw(rt, "why")),
	}
	m.both(rt, "deny", func(_ int, s bus.Store) string { return reason(s.MarkDenied(context.Background(), []bus.Denial{d})) })
}

// dismissals says how many messages these acks end.
func (m *machine) dismissals(acks []bus.Ack) int {
	n := 0
	seen := map[string]bool{}
	for _, a := range acks {
		d, err := m.stores[0].Delivery(context.Background(), a.To, a.ID, false)
		never := slices.ContainsFunc(d.Devices, func(v bus.Device) bool { return v.Client == a.Device && !v.Denied.IsZero() && v.Sent.IsZero() })
		if err == nil && !seen[a.ID] && d.Scope == bus.AnyDevice && d.Ended.IsZero() && d.Expires.After(m.now()) && !never {
			n++
		}
		seen[a.ID] = true
	}
	return n
}

func (m *machine) pending(rt *rapid.T) {
	to := rapid.SampledFrom(m.users).Draw(rt, "to")
	q := bus.PendingQuery{
		Device: rapid.SampledFrom([]string{"", "phone", "desk"}).Draw(rt, "device"), Limit: 1000, // see resume
		After: rapid.Uint64Range(0, 5).Draw(rt, "after"),
	}
	q.Deliver = q.Device != "" && rapid.Bool().Draw(rt, "deliver")
	var given []bus.Ack
	m.both(rt, "pending", func(_ int, s bus.Store) string {
		p, err := s.Pending(context.Background(), to, q)
		var out strings.Builder
		fmt.Fprint(&out, reason(err), p.Next, p.More, p.Top.Offset)
		for _, w := range p.Messages {
			fmt.Fprintf(&out, " %s/%d/%d/%t/%d/%t", w.ID, w.Position.Offset, w.Deliveries, w.Dead, w.Delivery.SentCount, w.Delivery.Ended.IsZero())
			if q.Deliver && !w.Dead {
				given = append(given, bus.Ack{To: to, ID: w.ID, Device: q.Device, Again: true})
			}
		}
		return out.String()
	})
	if rapid.Bool().Draw(rt, "live") && q.Deliver {
		for i := range given {
			given[i].Again = false
		}
	}
	given = given[:len(given)/2] // what the first store said, and what the second
	m.both(rt, "sent", func(_ int, s bus.Store) string { return reason(s.MarkSent(context.Background(), given)) })
}

func (m *machine) delivery(rt *rapid.T) {
	to := rapid.SampledFrom(m.users).Draw(rt, "to")
	id := rapid.SampledFrom(append([]string{"unknown"}, m.sent[to]...)).Draw(rt, "id")
	settle := rapid.Bool().Draw(rt, "settle")
	now := m.now()
	m.both(rt, "delivery", func(_ int, s bus.Store) string {
		out := ""
		d, err := s.Delivery(context.Background(), to, id, false)
		if settle {
			o, err := s.Settle(context.Background(), bus.Due{To: to, ID: id})
			next := o.Next.Sub(d.Published) // each store has a clock of its own
			if o.Next.IsZero() {
				next = 0
			}
			out = fmt.Sprint(reason(err), o.Changed, next, " ")
			d, err = s.Delivery(context.Background(), to, id, false)
			out += reason(err)
		}
		out += fmt.Sprint(reason(err), d.State(now), d.Scope, d.Deliveries, d.SentCount, d.AckedCount, d.Reason, d.MaxDeliveries, d.DeadLetter)
		out += fmt.Sprint(" ", d.State(d.Deadline), d.DeniedCount, d.DeniedWhy)
		for _, v := range d.Devices {
			out += fmt.Sprintf(" %s/%t/%t/%t/%s", v.Client, v.Sent.IsZero(), v.Acked.IsZero(), v.Denied.IsZero(), v.Why)
		}
		return out
	})
}
