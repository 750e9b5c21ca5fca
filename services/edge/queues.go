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
	gauge := func(name, help string, value func(sh *shard) int) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			sum := 0
			for _, sh := range e.hub.shards {
				sum += value(sh)
			}
			return float64(sum)
		}))
	}
	gauge("trunkline_edge_shard_waiting_messages", "Messages that wait for the shards.", func(sh *shard) int { n, _ := sh.inbox.waiting(); return n })
	gauge("trunkline_edge_shard_waiting_bytes", "The same in bytes.", func(sh *shard) int { _, n := sh.inbox.waiting(); return n })
	gauge("trunkline_edge_held_bytes", "What subscriptions hold while they replay, in bytes.", func(sh *shard) int {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		return sh.held
	})
	queue("acks", func() int { ids, _ := e.acks.lengths(); return ids })
	queue("sent", func() int { _, sent := e.acks.lengths(); return sent })
	queue("rosters", e.roster.length)
	queue("events", e.events.length)
}
