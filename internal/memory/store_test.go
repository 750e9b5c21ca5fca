package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	bustest.Run(t, func(testing.TB) bus.Store { return memory.New(memory.Config{Events: bustest.Events}) })
}
