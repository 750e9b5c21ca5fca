package facility_test

import (
	"encoding/json"
	"testing"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
)

// reply sends a frame and reads the answer as JSON.
func (c *client) reply(t *testing.T, text string) map[string]any {
	t.Helper()
	c.send(text)
	e := c.next()
	var m map[string]any
	if err := json.Unmarshal([]byte(e.data), &m); err != nil {
		t.Fatalf("%s was answered with %+v", text, e)
	}
	return m
}

// reason is the reason of a refusal.
func reason(m map[string]any) string {
	e, _ := m["error"].(map[string]any)
	s, _ := e["reason"].(string)
	return s
}

var commands = apptest.With(func(c *config.Config) { settings(c).Commands.Allow = []string{"GET", "SET", "DEL", "INCR", "EXPIRE"} })

// A command frame runs a store command on the session's own values, from any of its sockets on any edge.
func TestCommands(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		john := h.login(t, "john")
		c := h.dial(t, 0, "words?subscribe-broadcast&publish-broadcast", cookie(john))
		m := c.reply(t, `{"command":"SET key1 15","sessionId":"s-1","date":"2026-11-21"}`)
		if m["result"] != "OK" || m["command"] != "SET key1 15" || m["sessionId"] != "s-1" || m["date"] != "2026-11-21" {
			t.Errorf("SET was answered with %v", m)
		}
		if m := c.reply(t, `{"command":"INCR key1"}`); m["result"] != 16.0 {
			t.Errorf("INCR was answered with %v", m)
		}
		other := h.dial(t, len(h.at)-1, "words?subscribe-user", cookie(john))
		if m := other.reply(t, `{"command":"GET key1"}`); m["result"] != "16" {
			t.Errorf("another socket of the session: %v", m)
		}
		mary := h.dial(t, 0, "words?subscribe-broadcast", cookie(h.login(t, "mary")))
		if m := mary.reply(t, `{"command":"GET key1"}`); m["result"] != nil || reason(m) != "" {
			t.Errorf("another session: %v", m)
		}
		guest, stranger := h.dial(t, 0, "words", nil), h.dial(t, 0, "words", nil)
		if m := guest.reply(t, `{"command":"SET key1 mine"}`); m["result"] != "OK" {
			t.Errorf("a socket without a session: %v", m)
		}
		if m := stranger.reply(t, `{"command":"GET key1"}`); m["result"] != nil {
			t.Errorf("another without a session: %v", m)
		}
		for frame, want := range map[string]string{
			`{"command":"FLUSHALL"}`: "COMMAND_REFUSED", `{"command":"TTL key1"}`: "COMMAND_REFUSED", `{"command":""}`: "FIELD_INVALID", `{"command":"SET a"}`: "FIELD_INVALID",
			`{"command":"SET t x"} `: "", `{"command":"INCR t"}`: "VALUE_NOT_A_NUMBER",
		} {
			if frame == `{"command":"INCR t"}` {
				c.reply(t, `{"command":"SET t x"}`)
			}
			if m := c.reply(t, frame); reason(m) != want {
				t.Errorf("%s was answered with %v", frame, m)
			}
		}
		// Nothing of this was published, and what is no command is.
		c.send(`{"command":7}`)
		c.send("plain")
		mary.gets(`{"command":7}`, "plain")
	}, commands)
}

// Commands are off unless they are allowed: a frame is a frame.
func TestCommands_off(t *testing.T) {
	h := start(t)
	a, b := h.dial(t, 0, "off?publish-broadcast", nil), h.dial(t, 0, "off?subscribe-broadcast", nil)
	a.send(`{"command":"SET key1 15"}`)
	b.gets(`{"command":"SET key1 15"}`)
}
