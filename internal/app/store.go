package app

import (
	"context"
	"fmt"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/telemetry"
)

// openStore opens the store of the configuration; nil for a gateway alone, which has none.
func openStore(_ context.Context, cfg Config, _ *telemetry.Telemetry) (bus.Store, error) {
	switch cfg.storeName() {
	case "none":
		return nil, nil
	case "memory":
		return memory.New(memory.Config{}), nil
	}
	return nil, fmt.Errorf("redis")
}
