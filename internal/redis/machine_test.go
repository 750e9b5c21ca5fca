package redis_test

import (
	"testing"

	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/redis/redistest"
)

// The memory store and a real Redis cannot be told apart.
func TestStore_isTheSameAsMemory(t *testing.T) {
	bustest.Same(t, memory.New(memory.Config{}), open(t, redistest.Start(t).URL()))
}
