package rpc_test

import (
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/judge"
	"github.com/trunkline/trunkline/internal/rpc"
)

// A role that comes back is used again within what is promised, with time left for the call itself.
func TestRedial_keepsThePromise(t *testing.T) {
	longest := time.Duration(float64(rpc.Redial.MaxDelay) * (1 + rpc.Redial.Jitter))
	if most := judge.AuthBack.Most - 500*time.Millisecond; longest > most {
		t.Errorf("a dial may wait for %s, more than %s", longest, most)
	}
}
