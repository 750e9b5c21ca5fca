package verify_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/internal/verify"
)

// fault is a lie and the promises that it breaks.
type fault struct {
	name   string
	b      func() *between
	c      verify.Config
	broken []string
}

// only is a run of some parts.
func only(parts ...string) verify.Config { return verify.Config{Only: parts} }

// message says whether a frame is a message of a channel.
func message(text string) bool {
	return strings.HasPrefix(text, `{"message"`) && strings.Contains(text, `"to":"channels/`)
}

// every applies a lie to every tenth message of a session.
func every(lie func(session int64, text string) []string) func() *between {
	return func() *between {
		var mu sync.Mutex
		seen := map[int64]int{}
		return &between{frame: func(session int64, text string) []string {
			if !message(text) || strings.Contains(text, "-last-") {
				return []string{text}
			}
			mu.Lock()
			defer mu.Unlock()
			if seen[session]++; seen[session]%10 != 5 {
				return []string{text}
			}
			return lie(session, text)
		}}
	}
}

// replaced changes every frame.
func replaced(old, with string) func() *between {
	return func() *between {
		return &between{frame: func(_ int64, text string) []string { return []string{strings.ReplaceAll(text, old, with)} }}
	}
}

// without leaves out frames that contain a text.
func without(text string) func() *between {
	return func() *between {
		return &between{frame: func(_ int64, f string) []string {
			if strings.Contains(f, text) {
				return nil
			}
			return []string{f}
		}}
	}
}

// answers changes answers of REST whose body contains a text.
func answers(status int, old, with string) func() *between {
	return func() *between {
		return &between{answer: func(_ *http.Request, was int, body string) (int, string) {
			if !strings.Contains(body, old) {
				return was, body
			}
			if status != 0 {
				return status, with
			}
			return was, strings.ReplaceAll(body, old, with)
		}}
	}
}

var faults = []fault{
	{"a message is left out", every(func(int64, string) []string { return nil }), only("delivery"), []string{"delivery.lost"}},
	{"a message comes twice", every(func(_ int64, text string) []string { return []string{text, text} }), only("delivery"), []string{"delivery.duplicates"}},
	{"a payload is changed", every(func(_ int64, text string) []string {
		return []string{strings.Replace(text, "xxxx", "xxyx", 1)}
	}), only("delivery"), []string{"delivery.foreign"}},
	{"two messages change places", swapped, only("delivery"), []string{"delivery.order"}},
	{"a gap is told", every(func(_ int64, text string) []string {
		return []string{`{"gap":{"address":"channels/elsewhere","reason":"slow_consumer"}}`, text}
	}), only("delivery"), []string{"delivery.gaps"}},
	{"messages are late", late, verify.Config{Only: []string{"delivery"}, Delay: 50 * time.Millisecond}, []string{"delivery.time"}},
	{"a repeat is not recognized", answers(0, `"duplicate":true`, `"duplicate":false`), only("repeat"), []string{"repeat.duplicate"}},
	{"another body is taken", answers(http.StatusOK, "IDEMPOTENCY_MISMATCH", `{"id":"x"}`), only("repeat"), []string{"repeat.mismatch"}},
	{"what is not granted is taken", answers(http.StatusOK, "PUBLISH_DENIED", `{"id":"x"}`), only("rights"), []string{"rights.refused"}},
	{"a redelivery has no mark", replaced(`"redelivered":true,`, ""), only("acks"), []string{"acks.redelivered"}},
	{"nothing is redelivered", without(`"redelivered":true`), verify.Config{Only: []string{"acks"}, Timeout: 2 * time.Second}, []string{"acks.redelivered"}},
	{"a receipt stays pending", answers(0, "DELIVERY_STATE_STORED", "DELIVERY_STATE_SENT"), only("acks"), []string{"acks.stored"}},
	{"a receipt stays stored", answers(0, "DELIVERY_STATE_ACKED", "DELIVERY_STATE_STORED"), only("acks"), []string{"acks.acked"}},
	{"what was acknowledged comes again", undead, only("acks"), []string{"acks.final"}},
	{
		"sockets stay open", func() *between { return &between{keep: true} }, only("delivery", "revocation", "expiry"),
		[]string{"expiry.closed", "revocation.closed"},
	},
	{
		"sockets stay open and go on", func() *between { return &between{keep: true, leak: true} },
		only("revocation", "expiry"),
		[]string{"expiry.closed", "expiry.silent", "revocation.closed", "revocation.silent"},
	},
	{"a revoked token is taken", revived, only("revocation"), []string{"revocation.refused"}},
	{"presence says nothing", without(`{"presenceEvent"`), only("members"), []string{"members.join", "members.leave"}},
	{"an event is left out", func() *between {
		var n atomic.Int64
		return &between{event: func(text string) string {
			if strings.Contains(text, "event: message") && !strings.Contains(text, "-last-") && n.Add(1)%10 == 5 {
				return ": left out\n\n"
			}
			return text
		}}
	}, only("delivery"), []string{"delivery.lost"}},
	{"answers are lost", lostAnswers, verify.Config{}, nil},
}

// swapped lets a message come after the next one.
func swapped() *between {
	var mu sync.Mutex
	held, seen := map[int64]string{}, map[int64]int{}
	return &between{frame: func(session int64, text string) []string {
		if !message(text) {
			return []string{text}
		}
		mu.Lock()
		defer mu.Unlock()
		if first := held[session]; first != "" {
			delete(held, session)
			return []string{text, first}
		}
		if seen[session]++; seen[session]%10 == 5 && !strings.Contains(text, "-last-") {
			held[session] = text
			return nil
		}
		return []string{text}
	}}
}

// late holds every message up.
func late() *between {
	return &between{frame: func(_ int64, text string) []string {
		if message(text) {
			<-time.After(100 * time.Millisecond)
		}
		return []string{text}
	}}
}

// undead gives a device again what it has acknowledged.
func undead() *between {
	var mu sync.Mutex
	withheld, acked := "", false
	return &between{frame: func(_ int64, text string) []string {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case strings.Contains(text, `"ackRequired":true`) && strings.Contains(text, "-withheld"):
			withheld = text
		case strings.Contains(text, `"acked":{"acked":1}`):
			acked = withheld != ""
		case acked && strings.Contains(text, `"connected"`):
			acked = false
			return []string{text, withheld}
		}
		return []string{text}
	}}
}

// revived takes tokens that were revoked.
func revived() *between {
	var mu sync.Mutex
	open := map[int64]bool{}
	return &between{frame: func(session int64, text string) []string {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(text, "TOKEN_REVOKED") && !open[session] {
			return []string{`{"id":1,"connected":{"subscriptions":[{"subscribed":{"address":"channels/any"}}]}}`}
		}
		open[session] = true
		return []string{text}
	}}
}

// lostAnswers loses every fifth answer to a publish that was taken, but none to its repeat: nobody could say then how long that takes.
// It is no fault of the deployment, because the repeat has the key.
func lostAnswers() *between {
	var n atomic.Int64
	return &between{answer: func(req *http.Request, status int, body string) (int, string) {
		taken := status == http.StatusOK && strings.HasSuffix(req.URL.Path, ":publish") && !strings.Contains(body, `"duplicate"`)
		if taken && n.Add(1)%5 == 0 {
			return http.StatusBadGateway, "lost"
		}
		return status, body
	}}
}

// Each fault between the prober and the deployment turns the promise red that it breaks, and no other.
func TestRun_seesFaults(t *testing.T) {
	d := apptest.Start(t)
	var all errgroup.Group
	all.SetLimit(6)
	for _, f := range faults {
		all.Go(func() error {
			t.Run(f.name, func(t *testing.T) {
				f.c.Credential = d.AdminKey
				r, err := look(t, front(t, d, f.b(), false), d.GRPC, f.c)
				testkit.Check(t, err)
				wants(t, r, f.broken...)
			})
			return nil
		})
	}
	_ = all.Wait()
}
