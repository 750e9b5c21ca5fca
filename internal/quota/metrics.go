package quota

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
)

type metrics struct {
	refused *prometheus.CounterVec
	used    map[bus.AccountKind]*[limits]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_quota_refusals_total", Help: "Calls that were refused because an account had used up a quota.",
		}, []string{"account", "limit"}),
		used: make(map[bus.AccountKind]*[limits]prometheus.Counter),
	}
	used := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "trunkline_quota_used_total", Help: "What accounts have used, by their kind and by what is limited.",
	}, []string{"account", "limit"})
	for _, kind := range []bus.AccountKind{bus.AccountKey, bus.AccountUser, bus.AccountClient} {
		m.used[kind] = new([limits]prometheus.Counter)
		for l := range limits {
			m.used[kind][l] = used.WithLabelValues(kind.String(), l.String())
			m.refused.WithLabelValues(kind.String(), l.String())
		}
	}
	if reg != nil {
		reg.MustRegister(m.refused, used)
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
