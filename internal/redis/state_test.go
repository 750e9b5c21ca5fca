package redis_test

import (
	"errors"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// A state is as durable as a message of its namespace: neither a change nor a removal is OK that only the master has.
func TestState_isAsDurableAsItsNamespace(t *testing.T) {
	alone := redistest.Start(t)
	s := open(t, alone.URL())
	a := address(t, "channels/strict")
	c := bus.StateChange{Publication: replicated(a, "key", 1), Value: []byte("{}"), TTL: time.Hour}
	if at, err := s.SetState(t.Context(), bustest.AdmitState(c)); !errors.Is(err, bus.ErrNotReached) {
		t.Errorf("a change that no replica has: %+v, %v", at, err)
	}
	if _, err := s.SetState(t.Context(), bustest.AdmitState(c)); !errors.Is(err, bus.ErrNotReached) {
		t.Errorf("a repeat of it: %v", err)
	}
	if err := s.DeleteState(t.Context(), bustest.AdmitState(c)); !errors.Is(err, bus.ErrNotReached) {
		t.Errorf("a removal that no replica has: %v", err)
	}
	fsynced := c
	fsynced.Durability, fsynced.Replicas = bus.Fsynced, 0
	if err := s.DeleteState(t.Context(), bustest.AdmitState(fsynced)); !errors.Is(err, bus.ErrNotDurable) {
		t.Errorf("a removal where there is no file: %v", err)
	}

	master, _ := pair(t)
	s = open(t, master.URL())
	at, err := s.SetState(t.Context(), bustest.AdmitState(c))
	if err != nil || at.Revision != 1 {
		t.Fatalf("with a replica: %+v, %v", at, err)
	}
	if again, err := s.SetState(t.Context(), bustest.AdmitState(c)); err != nil || again.Revision != 1 || string(again.Value) != "{}" {
		t.Errorf("a repeat: %+v, %v", again, err)
	}
	wrong := c
	wrong.IdempotencyKey, wrong.Digest, wrong.Revision = "", "", 7
	if _, err := s.SetState(t.Context(), bustest.AdmitState(wrong)); !errors.Is(err, bus.ErrRevisionMismatch) {
		t.Errorf("another revision: %v", err)
	}
	testkit.Check(t, s.DeleteState(t.Context(), bustest.AdmitState(c)))
}
