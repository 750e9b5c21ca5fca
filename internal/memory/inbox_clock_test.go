package memory_test

import (
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/memory"
)

// Deadlines, ends and looks follow the clock of the store, whatever time the publisher says and however wrong the wall is.
func TestInbox_goesByTheClockOfTheStore(t *testing.T) {
	for _, wrong := range []time.Duration{-11 * time.Minute, 0, 11 * time.Minute} {
		now := time.Now().Add(wrong)
		s := memory.New(memory.Config{Now: func() time.Time { return now }})
		to, err := bus.NewAddress(bus.KindUsers, "ada")
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Publish(t.Context(), bustest.Admit(bus.Publication{
			Message: bus.Message{ID: "m", To: to, ContentType: bus.Text, Ack: bus.AnyDevice, Published: time.Now()},
			Ack:     &bus.AckTerms{Scope: bus.AnyDevice, Timeout: 30 * time.Second, Keep: 5 * time.Minute, Limit: 10},
		}))
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			after   time.Duration
			due     int
			changed bus.DeliveryState
		}{
			{29 * time.Second, 0, 0}, {2 * time.Second, 1, bus.StateStored}, {4 * time.Minute, 0, 0}, {time.Minute, 1, bus.StateExpired},
		} {
			now = now.Add(step.after)
			due, err := s.DueDeliveries(t.Context(), 10)
			if err != nil || len(due) != step.due {
				t.Fatalf("clock off by %s: %d due, %v, want %d", wrong, len(due), err, step.due)
			}
			for _, d := range due {
				if out, err := s.Settle(t.Context(), d); err != nil || out.Changed != step.changed {
					t.Errorf("clock off by %s: settled as %+v, %v", wrong, out, err)
				}
			}
		}
	}
}
