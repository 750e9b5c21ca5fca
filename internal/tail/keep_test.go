package tail_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/tail"
	"github.com/trunkline/trunkline/internal/testkit"
)

// What is followed keeps nothing of the frames that named it.
func TestTail_keepsCopies(t *testing.T) {
	followed := tail.New(memory.New(memory.Config{}), nil, tail.Config{})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { testkit.Check(t, followed.Run(ctx)) })
	defer func() { stop(); running.Wait() }()
	testkit.KeepsCopies(t, followed, func(i int, in *testkit.Input) {
		for range 2 {
			a, err := bus.ParseAddress(in.Cut(fmt.Sprint("channels/c", i)))
			testkit.Check(t, err)
			_, err = followed.Acquire(ctx, a)
			testkit.Check(t, err)
		}
	})
}
