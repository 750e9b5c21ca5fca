package rooms_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// A client that vanished during a broadcast ended the broadcasts of everybody, and left its entries behind.
func TestFault_ClientsVanishMidBroadcast(t *testing.T) {
	often := apptest.With(func(c *config.Config) {
		c.Edge.PingInterval, c.Edge.CommandsPerSecond, c.Edge.CommandBurst = time.Second, 1e6, 1e6
	})
	everywhere(t, func(t *testing.T, h *deployment) {
		a, b := h.as(t, 0, "ann"), h.as(t, 1, "bob")
		dead := make([]*client, 20)
		for i := range dead {
			dead[i] = h.connect(t, i, "/ws/1", nil)
			dead[i].send("setID", fmt.Sprint("dead-", i))
		}
		testkit.Eventually(t, "all have joined", func() bool { return h.members(t) == 22 })
		var sending sync.WaitGroup
		sending.Go(func() {
			for i := range 200 {
				a.message(fmt.Sprint("dead-", i%20), i)
			}
		})
		for i, c := range dead {
			if i%2 == 0 { // the others stay, and never answer anything again
				_ = c.ws.NetConn().(*net.TCPConn).SetLinger(0)
				_ = c.ws.Close()
			}
		}
		for i := range 200 {
			if f := b.get("sendMessage"); f.text(t) != fmt.Sprint(i) {
				t.Fatalf("message %d is %+v", i, f)
			}
		}
		sending.Wait()
		left := time.NewTicker(100 * time.Millisecond) // a and b answer pings by reading
		defer left.Stop()
		for deadline := time.Now().Add(15 * time.Second); h.members(t) > 2; <-left.C {
			if time.Now().After(deadline) {
				t.Fatalf("%d members are left", h.members(t))
			}
			a.before()
			b.before()
		}
		connections := int64(0)
		for _, p := range h.Processes {
			connections += p.Connections()
		}
		if connections != 2 {
			t.Errorf("%d connections are left", connections)
		}
		b.message("ann", "still here")
		for f := a.get("sendMessage"); f.text(t) != "still here"; {
			f = a.get("sendMessage")
		}
	}, often)
}

// One goroutine wrote to all, so that a reader that stalled stopped everybody.
func TestFault_StalledReader(t *testing.T) {
	// The client writes each of its messages in fragments of 4 KiB, which count as no flood.
	fast := apptest.With(func(c *config.Config) { c.Edge.CommandsPerSecond, c.Edge.CommandBurst = 1e6, 1e6 })
	everywhere(t, func(t *testing.T, h *deployment) {
		a, b := h.as(t, 0, "ann"), h.as(t, 0, "bob")
		stalled := h.as(t, 0, "stalled") // reads nothing from here on
		_ = stalled.ws.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10)
		const messages = 100
		text := strings.Repeat("x", 60<<10)
		var sending sync.WaitGroup
		sending.Go(func() {
			for range messages {
				a.message("bob", text)
			}
		})
		var reading sync.WaitGroup
		reading.Go(func() { // its own copies: a client that reads nothing for 10 s is sent away
			for err := error(nil); err == nil; {
				_, err = a.read()
			}
		})
		start, slowest := time.Now(), time.Duration(0)
		for range messages {
			at := time.Now()
			b.get("sendMessage")
			slowest = max(slowest, time.Since(at))
		}
		sending.Wait()
		testkit.Check(t, a.ws.Close())
		reading.Wait()
		t.Logf("%d messages of 60 KiB beside a stalled reader took %s, the slowest %s", messages, time.Since(start), slowest)
		if slowest > 5*time.Second {
			t.Errorf("a message took %s", slowest)
		}
	}, fast)
}

// Every copy was a goroutine for 30 s, in a map that was never cleaned.
func TestFault_PendingCopiesAreBounded(t *testing.T) {
	h := start(t, apptest.With(func(c *config.Config) {
		c.Inbox.Limit, c.Edge.CommandsPerSecond, c.Edge.CommandBurst = 300, 1e6, 1e6
	}))
	a := h.as(t, 0, "ann")
	a.before()
	before := runtime.NumGoroutine()
	for i := range 300 {
		a.message("nobody", i)
		a.get("sendMessage")
	}
	if after := runtime.NumGoroutine(); after > before+50 {
		t.Errorf("300 messages that wait are %d goroutines", after-before)
	}
	b := h.as(t, 0, "nobody") // it acknowledges nothing
	b.before()
	a.message("nobody", "one too many") // is not kept, and told as it always was
	got, reason := "", ""
	for got == "" || reason == "" {
		switch f := a.next(); f.Body.Command {
		case "sendMessage":
			got = f.text(t)
		case "error":
			reason = string(f.Body.Data)
		}
	}
	if got != "one too many" || !strings.Contains(reason, "INBOX_FULL") {
		t.Errorf("got %q, refused with %s", got, reason)
	}
	if f := b.get("sendMessage"); f.text(t) != "one too many" {
		t.Errorf("the addressee got %+v", f)
	}
}

// There was no read limit, no ping and no look at the Origin.
func TestFault_NoLimits(t *testing.T) {
	h := start(t, apptest.With(func(c *config.Config) {
		c.Edge.CommandsPerSecond, c.Edge.CommandBurst = 1, 5
		settings(c).MaxMessage = 1 << 10
		c.Edge.AllowedOrigins = []string{"https://good.example"}
		settings(c).AnyOrigin = false
	}))
	closes := func(c *client, code int) {
		t.Helper()
		for {
			_, err := c.read()
			var bye *websocket.CloseError
			if errors.As(err, &bye) && bye.Code == code {
				return
			}
			testkit.Check(t, err)
		}
	}
	large := h.dial(t, 0)
	large.message("", strings.Repeat("x", 80<<10))
	closes(large, websocket.CloseMessageTooBig)
	long := h.dial(t, 0)
	long.message("", strings.Repeat("x", 2<<10))
	if reason, _ := long.refusal(); reason != "MESSAGE_TOO_LARGE" {
		t.Errorf("a message that is too large is refused with %s", reason)
	}
	quick, slowed := h.dial(t, 0), time.Now()
	for i := range 8 { // of which 5 are taken at once
		quick.message("", fmt.Sprint(i))
	}
	for i := range 8 {
		if f := quick.get("sendMessage"); f.text(t) != fmt.Sprint(i) {
			t.Errorf("message %d is %+v", i, f)
		}
	}
	if took := time.Since(slowed); took < 2*time.Second {
		t.Errorf("8 frames were taken in %s, at one a second and a burst of 5", took)
	}
	if status, body := h.refused(t, "/ws/1", http.Header{"Origin": {"https://evil.example"}}); status != http.StatusForbidden || !strings.Contains(body, "ORIGIN_REFUSED") {
		t.Errorf("another origin: %d %s", status, body)
	}
	h.connect(t, 0, "/ws/1", http.Header{"Origin": {"https://good.example"}})
	anybody := start(t)
	anybody.connect(t, 0, "/ws/1", http.Header{"Origin": {"https://evil.example"}})
}
