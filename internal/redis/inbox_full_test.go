package redis_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// Inboxes that have filled a server are emptied by acks and by the sweep, also those of each device.
func TestFullServer_isEmptiedByAcks(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "noeviction")
	s := open(t, server.URL())
	ctx := t.Context()
	to := address(t, "users/ada")
	var acks []bus.Ack
	var dues []bus.Due
	for i := range 1000 {
		p := asks(to)
		p.Message.Data = []byte(strings.Repeat("x", 1000))
		if i%10 == 0 {
			p.Ack.Scope = bus.EachDevice
		}
		if i%10 == 1 {
			p.Ack.Timeout, p.Ack.Keep = 0, 0
			dues = append(dues, bus.Due{To: to, ID: p.Message.ID})
		} else {
			acks = append(acks, bus.Ack{To: to, ID: p.Message.ID, Device: "phone"})
		}
		_, err := s.Publish(ctx, bustest.Admit(p))
		testkit.Check(t, err)
	}
	testkit.Check(t, s.MarkSent(ctx, []bus.Ack{{To: to, ID: acks[0].ID, Device: "desk"}}))
	out, err := server.CLI("config", "set", "maxmemory", "1")
	if err != nil || !strings.Contains(out, "OK") {
		t.Fatal(out, err)
	}
	if _, err := s.Publish(ctx, bustest.Admit(asks(to))); !errors.Is(err, bus.ErrStorageFull) {
		t.Fatalf("the server is not full: %v", err)
	}
	testkit.Check(t, errors.Join(s.Ack(ctx, acks)...))
	testkit.Check(t, errors.Join(s.Ack(ctx, []bus.Ack{{To: to, ID: acks[0].ID, Device: "desk"}})...))
	verdicts, errs := s.Judge(ctx, dues)
	testkit.Check(t, errors.Join(errs...))
	settled, errs := s.SettleAll(ctx, verdicts)
	testkit.Check(t, errors.Join(errs...))
	for _, out := range settled {
		if out.Changed != bus.StateExpired {
			t.Fatalf("settled as %+v", out)
		}
	}
	stats, err := s.InboxStats(ctx, to)
	testkit.Check(t, err)
	due, err := s.DueStats(ctx)
	testkit.Check(t, err)
	if stats.Count != 0 || due.Count != 0 {
		t.Errorf("%d wait, %d are due", stats.Count, due.Count)
	}
	if _, err = server.CLI("config", "set", "maxmemory", "0"); err != nil {
		t.Fatal(err)
	}
	p := asks(to)
	p.Ack.Timeout = time.Millisecond
	_, err = s.Publish(ctx, bustest.Admit(p))
	testkit.Check(t, err)
}
