package main

import (
	"strings"
	"testing"

	"github.com/trunkline/trunkline/client"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
)

func TestEvents(t *testing.T) {
	h := apptest.Start(t, apptest.With(func(c *config.Config) { c.Hooks.Events.Enabled = true }))
	s := &shell{deployment: h, env: []string{"TRUNKLINE_SERVER=" + h.HTTP, "TRUNKLINE_GRPC=" + h.GRPC, "TRUNKLINE_TOKEN=" + h.AdminKey}}
	c := h.Connect(t, client.Config{})
	if _, err := c.Subscribe(t.Context(), client.Subscription{Address: "channels/demo"}); err != nil {
		t.Fatal(err)
	}
	r := s.run(t.Context(), "", "events", "--from", "beginning", "--count", "2")
	if r.code != exitDone || !strings.Contains(r.out, "connected     #1  client=") || !strings.Contains(r.out, "occupied      #2  channels/demo\n") {
		t.Errorf("code %d, out %s, err %s", r.code, r.out, r.err)
	}
	r = s.run(t.Context(), "", "events", "--from", "beginning", "--count", "1", "--kind", "Occupied", "-o", "jsonl")
	if r.code != exitDone || !strings.Contains(r.out, `"kind":"EVENT_KIND_OCCUPIED"`) || strings.Count(r.out, "\n") != 1 {
		t.Errorf("code %d, out %s, err %s", r.code, r.out, r.err)
	}
	for _, args := range [][]string{{"--kind", "joined"}, {"--from", "yesterday"}, {"--count", "-1"}, {"extra"}} {
		if r := s.run(t.Context(), "", append([]string{"events"}, args...)...); r.code != exitUsage {
			t.Errorf("%q: code %d, err %s", args, r.code, r.err)
		}
	}
	off := newShell(t)
	if r := off.run(t.Context(), "", "events"); r.code != exitFailed || !strings.Contains(r.err, "hooks.events.enabled") {
		t.Errorf("code %d, err %s", r.code, r.err)
	}
}
