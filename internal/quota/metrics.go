package quota

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
)

type metrics struct {
	refused *prometheus.CounterVec
	used    map[bus.AccountKind]*[limits]prometheus.Counter
	// By namespace: addresses, and bytes.
	addresses, bytes *prometheus.CounterVec
	kept             *prometheus.GaugeVec
}

// usage counts what a namespace has got.
type usage struct{ addresses, bytes prometheus.Counter }

func (u usage) add(costs *[limits]float64) {
	u.addresses.Add(costs[addresses])
	u.bytes.Add(costs[bytes])
}

// usage returns the counters of a namespace.
func (m *metrics) usage(name string) usage {
	return usage{m.addresses.WithLabelValues(name), m.bytes.WithLabelValues(name)}
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_quota_refusals_total", Help: "Calls that were refused because an account had used up a quota.",
		}, []string{"account", "limit"}),
		used: make(map[bus.AccountKind]*[limits]prometheus.Counter),
		addresses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_namespace_addresses_total", Help: "New addresses, by the configured namespace of channels, or by kind.",
		}, []string{"namespace"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_namespace_bytes_total", Help: "Bytes of messages and states that are kept, in the same way.",
		}, []string{"namespace"}),
	}
	m.kept = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "trunkline_namespace_addresses_kept", Help: "About how many addresses the store keeps, over all processes, by the configured namespace.",
	}, []string{"namespace"})
	m.refused.WithLabelValues("namespace", addresses.String())
	m.refused.WithLabelValues("namespace", "addresses_kept")
	used := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "trunkline_quota_used_total", Help: "What accounts have used, by their kind and by what is limited.",
	}, []string{"account", "limit"})
	for _, kind := range []bus.AccountKind{bus.AccountKey, bus.AccountUser, bus.AccountClient, bus.AccountPeer} {
		m.used[kind] = new([limits]prometheus.Counter)
		for l := range limits {
			m.used[kind][l] = used.WithLabelValues(kind.String(), l.String())
			m.refused.WithLabelValues(kind.String(), l.String())
		}
	}
	if reg != nil {
		reg.MustRegister(m.refused, used, m.addresses, m.bytes, m.kept)
	}
	return m
}

// count notes what an account has used.
func (m *metrics) count(kind bus.AccountKind, costs *[limits]float64) {
	counters := m.used[kind]
	for l, cost := range costs {
		if cost > 0 {
			counters[l].Add(cost)
		}
	}
}
