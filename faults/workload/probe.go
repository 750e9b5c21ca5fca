package workload

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/trunkline/trunkline/faults/proc"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// Probe publishes to each of the first channels by itself, until the function that it returns is called. That one returns the
// longest time that a publish to each took, repetitions included.
func (l *Load) Probe(ctx context.Context, channels int) func() []time.Duration {
	ctx, cancel := context.WithCancel(ctx)
	longest := make([]time.Duration, channels)
	var all sync.WaitGroup
	for i := range channels {
		all.Go(func() {
			who := fmt.Sprintf("probe%d", i)
			random := l.random(who)
			door := &unary{l: l, client: publishv1.NewPublishServiceClient(l.conn)}
			for n := 0; proc.Wait(ctx, 50*time.Millisecond) == nil; n++ {
				m := compose(random, fmt.Sprintf("%s-%d", who, n), Channel(i), 64, false)
				start := time.Now()
				l.send(context.WithoutCancel(ctx), who, door, m)
				longest[i] = max(longest[i], time.Since(start))
			}
		})
	}
	return func() []time.Duration {
		cancel()
		all.Wait()
		return longest
	}
}
