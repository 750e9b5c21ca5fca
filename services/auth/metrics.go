package auth

import (
	"github.com/prometheus/client_golang/prometheus"
)

// measure registers what the service says of its keys.
func (s *Server) measure(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "trunkline_auth_signing_keys_end_seconds",
		Help: "When the last key that signs ends, in seconds since 1970; 0 for never.",
	}, func() float64 {
		if end := s.ring.LastEnd(); !end.IsZero() {
			return float64(end.Unix())
		}
		return 0
	}))
	for _, is := range s.trust {
		if !is.Remote() {
			continue
		}
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "trunkline_auth_issuer_keys_ready", Help: "1 when the keys of the issuer were read, the last time that they were to be.",
			ConstLabels: prometheus.Labels{"issuer": is.Issuer.Issuer},
		}, func() float64 {
			if is.Ready() == nil {
				return 1
			}
			return 0
		}))
	}
}
