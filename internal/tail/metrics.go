package tail

import "github.com/prometheus/client_golang/prometheus"

// Register shows the Stats of the Tail as gauges of a role; a nil registerer is nobody. Call it once.
func (t *Tail) Register(reg prometheus.Registerer, role string) {
	if reg == nil {
		return
	}
	for _, g := range []struct {
		name, help string
		value      func(Stats) float64
	}{
		{"followed_addresses", "Addresses that are followed.", func(s Stats) float64 { return float64(s.Followed) }},
		{"healing_addresses", "Addresses that may be missing something.", func(s Stats) float64 { return float64(s.Healing) }},
		{"healing_oldest_seconds", "For how long the first of them has been.", func(s Stats) float64 { return s.Oldest.Seconds() }},
		{"held_bytes", "Pushes that wait for what is missing before them.", func(s Stats) float64 { return float64(s.Held) }},
	} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "trunkline_tail_" + g.name, Help: g.help, ConstLabels: prometheus.Labels{"role": role},
		}, func() float64 { return g.value(t.Stats()) }))
	}
}
