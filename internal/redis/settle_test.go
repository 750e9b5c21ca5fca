package redis_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// settleMany settles messages that are due at once, and returns how often the server had to read for it.
func settleMany(t *testing.T, server *redistest.Server, s *redis.Store, n int) int {
	t.Helper()
	var list []bus.Publication
	for i := range n {
		p := mail(address(t, fmt.Sprint("users/u", i%8)), fmt.Sprintf("m%d of %d", i, n))
		p.Ack.Timeout = 0
		list = append(list, p)
	}
	_, errs := s.PublishAll(t.Context(), bustest.AdmitAll(list...))
	testkit.Check(t, errors.Join(errs...))
	reads := func() int {
		out, err := server.CLI("info", "stats")
		testkit.Check(t, err)
		return infoNumber(out, "total_reads_processed")
	}
	before := reads()
	due, err := s.DueDeliveries(t.Context(), 16*n)
	testkit.Check(t, err)
	verdicts, errs := s.Judge(t.Context(), due)
	testkit.Check(t, errors.Join(errs...))
	settled, errs := s.SettleAll(t.Context(), verdicts)
	testkit.Check(t, errors.Join(errs...))
	took := reads() - before
	for _, out := range settled {
		if out.Changed != bus.StateStored {
			t.Errorf("settled as %+v", out)
		}
	}
	if len(settled) != n {
		t.Errorf("%d of %d were settled", len(settled), n)
	}
	return took
}

// Judging and settling many messages is a matter of few round trips.
func TestSettleAll_takesFewRoundTrips(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	settleMany(t, server, s, 1) // the server learns the scripts
	const n = 512
	if took := settleMany(t, server, s, n); took > n/8 { // a large pipeline is read in several parts
		t.Errorf("%d messages took %d reads", n, took)
	}
}
