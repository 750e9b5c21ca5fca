package pipes //nolint:testpackage // pipelines are private to the package

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// What has waited for too long is refused and not sent; the rest keeps its order.
func TestPipes_timely(t *testing.T) {
	p := &Pipe{timeout: time.Second, refused: prometheus.NewCounter(prometheus.CounterOpts{})}
	now := time.Now()
	cmd := func() redis.Cmder { return redis.NewCmd(t.Context(), "PING") }
	late, first, second := cmd(), cmd(), cmd()
	got := p.timely(nil, []*batch{
		{cmds: []redis.Cmder{late}, since: now.Add(-time.Second - 1)},
		{cmds: []redis.Cmder{first}, since: now.Add(-time.Second)},
		{cmds: []redis.Cmder{second}, since: now},
	}, now)
	if len(got) != 2 || got[0] != first || got[1] != second {
		t.Errorf("sent: %v", got)
	}
	if !errors.Is(late.Err(), errQueued) || first.Err() != nil || second.Err() != nil {
		t.Errorf("errors: %v, %v, %v", late.Err(), first.Err(), second.Err())
	}
}

// What waits and what was refused can be seen.
func TestPipes_showWhatWaits(t *testing.T) {
	reg := prometheus.NewRegistry()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer func() { _ = client.Close() }()
	p := New(Config{Client: client, Timeout: time.Second, Metrics: reg})
	defer p.Close()
	p.single.waiting = []*batch{{}, {}} // nobody sends: nothing is under way
	p.single.refuse(&batch{}, errQueued)
	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	if got["trunkline_store_waiting_batches"] != 2 || got["trunkline_store_batches_refused_total"] != 1 {
		t.Errorf("metrics are %v", got)
	}
	p.single.waiting = nil
}
