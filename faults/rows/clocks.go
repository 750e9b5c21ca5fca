package rows

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/faults/proc"
)

// clocks are faults of wall clocks.
func clocks() []Row {
	return []Row{{
		ID: "F27", Fault: "a clock is wrong", How: "the clock of one process after the other is an hour ahead, and an hour behind", Promises: "P3, P24",
		System: proc.Options{Movable: true}, Quick: true, Inject: func(ctx context.Context, r *Run) error {
			for _, name := range proc.Parts {
				for _, ahead := range []time.Duration{50 * time.Minute, -time.Hour} {
					if err := r.Sys.SetClock(name, ahead); err != nil {
						return err
					}
					if err := r.Wait(ctx, r.length(2*time.Second)); err != nil {
						return err
					}
				}
				if err := r.Sys.SetClock(name, 0); err != nil {
					return err
				}
			}
			return nil
		},
	}}
}
