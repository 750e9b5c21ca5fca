package edge

import "github.com/prometheus/client_golang/prometheus"

// registerQueues makes the lengths of what waits for the store readable. Each has a bound: acks and subscriptions to rosters
// are refused beyond it; notes of what was written, and events, are left out, which is counted.
func (e *Edge) registerQueues(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	queue := func(name string, length func() int) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "trunkline_edge_waiting_for_store", Help: "What waits in memory for the store, by queue.",
			ConstLabels: prometheus.Labels{"queue": name},
		}, func() float64 { return float64(length()) }))
	}
	queue("acks", func() int { ids, _ := e.acks.lengths(); return ids })
	queue("sent", func() int { _, sent := e.acks.lengths(); return sent })
	queue("rosters", e.roster.length)
	queue("events", e.events.length)
}
