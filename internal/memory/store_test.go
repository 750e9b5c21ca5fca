package memory_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	bustest.Run(t, func(testing.TB) bus.Store { return memory.New(memory.Config{Events: bustest.Events}) })
}

// Keys are kept for their window. A session with too many waits, and nobody pushes out others' values.
func TestKeys_lastForTheirWindow(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := memory.New(memory.Config{Now: func() time.Time { return now }, Keys: 10})
	a, err := bus.NewAddress(bus.KindChannels, "pay")
	if err != nil {
		t.Fatal(err)
	}
	publish := func(publisher, key string) (bus.Receipt, error) {
		return s.Publish(t.Context(), bustest.Admit(bus.Publication{
			Message:   bus.Message{ID: publisher + key, To: a, Data: []byte("1"), ContentType: bus.JSON},
			Publisher: publisher, IdempotencyKey: key, Digest: "d", Window: time.Minute,
		}))
	}
	if r, err := publish("ada", "pay"); err != nil || r.Duplicate {
		t.Fatal(r, err)
	}
	for i := range 10 {
		if _, err := publish("mallory", strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := publish("mallory", "one more"); !errors.Is(err, bus.ErrStorageFull) {
		t.Errorf("error is %v", err)
	}
	for _, again := range [][2]string{{"ada", "pay"}, {"mallory", "0"}, {"mallory", "9"}} {
		if r, err := publish(again[0], again[1]); err != nil || !r.Duplicate {
			t.Errorf("%v again: %+v, %v", again, r, err)
		}
	}
	now = now.Add(time.Minute)
	for _, later := range [][2]string{{"mallory", "one more"}, {"ada", "pay"}} {
		if r, err := publish(later[0], later[1]); err != nil || r.Duplicate {
			t.Errorf("%v after the window: %+v, %v", later, r, err)
		}
	}
}
