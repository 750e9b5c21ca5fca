package redis_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// However many callers create channels at once, there are never more than the limit.
func TestCreateChannel_neverPassesItsLimit(t *testing.T) {
	const callers, limit = 64, 20
	s := open(t, redistest.Start(t).URL())
	var made, refused atomic.Int64
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			switch err := s.CreateChannel(t.Context(), bus.Channel{Address: address(t, fmt.Sprintf("channels/c:%d", i)), Created: time.Now()}, limit); {
			case err == nil:
				made.Add(1)
			case errors.Is(err, bus.ErrChannelLimit):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wait.Wait()
	page, err := s.ListChannels(t.Context(), "", 100)
	testkit.Check(t, err)
	if made.Load() != limit || refused.Load() != callers-limit || len(page.Channels) != limit {
		t.Errorf("%d made, %d refused, %d listed", made.Load(), refused.Load(), len(page.Channels))
	}
	// A name that is taken is told as such, also where no more may be made.
	if err := s.CreateChannel(t.Context(), page.Channels[0], limit); !errors.Is(err, bus.ErrChannelExists) {
		t.Errorf("once more: %v", err)
	}
	testkit.Check(t, s.DeleteChannel(t.Context(), page.Channels[0].Address))
	testkit.Check(t, s.CreateChannel(t.Context(), bus.Channel{Address: address(t, "channels/another"), Created: time.Now()}, limit))
}
