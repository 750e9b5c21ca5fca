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
