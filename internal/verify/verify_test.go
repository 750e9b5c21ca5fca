package verify_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/internal/verify"
	"github.com/trunkline/trunkline/internal/verify/door"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// look runs the prober against what stands at a URL.
func look(tb testing.TB, server *httptest.Server, grpc string, c verify.Config) (verify.Report, error) {
	tb.Helper()
	var secured *tls.Config
	if server.TLS != nil {
		secured = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		secured.RootCAs.AddCert(server.Certificate())
	}
	s, err := door.New(server.URL, secured)
	testkit.Check(tb, err)
	if grpc != "" {
		s.GRPC = apptest.Dial(tb, grpc, "")
	}
	c.Server, c.URL, c.Target = s, server.URL, grpc
	if c.For == 0 {
		c.For = 4 * time.Second
	}
	return verify.Run(tb.Context(), c)
}

// words are the promises of a report with a verdict.
func words(r verify.Report, w verify.Word) (all []string) {
	for _, p := range r.Promises {
		if p.Verdict == w {
			all = append(all, p.ID)
		}
	}
	return all
}

// wants checks that only these promises are broken. On a busy machine a time may be unknown.
func wants(t *testing.T, r verify.Report, broken ...string) {
	t.Helper()
	got := words(r, verify.Broken)
	slices.Sort(broken)
	slices.Sort(got)
	unknown := slices.DeleteFunc(slices.Clone(r.Promises), func(p verify.Promise) bool {
		part, _, _ := strings.Cut(p.ID, ".")
		ends := slices.ContainsFunc(got, func(id string) bool { return strings.HasPrefix(id, part) }) // what comes after it in a round
		return p.Verdict != verify.Unknown && p.Verdict != verify.Skipped || p.Unit == "ms" || ends
	})
	if !slices.Equal(got, broken) || len(unknown) > 0 || (r.Verdict == verify.Broken) != (len(broken) > 0) {
		t.Errorf("%s, broken %v, want %v; unknown %v", r.Verdict, got, broken, unknown)
		for _, p := range r.Promises {
			t.Logf("%s: %s, %v of %v, %d checked, %s %q", p.ID, p.Verdict, p.Figure, p.Bound, p.Checked, p.Reason, p.Findings)
		}
	}
}

// Every promise is looked at and held, through every door, and nothing is left.
func TestRun_holds(t *testing.T) {
	apptest.Everywhere(t, func(t *testing.T, opts ...apptest.Option) *apptest.Deployment { return apptest.Start(t, opts...) },
		func(t *testing.T, d *apptest.Deployment) {
			secured := len(d.Processes) == 1
			r, err := look(t, front(t, d, &between{}, secured), d.GRPC, verify.Config{Credential: d.AdminKey})
			testkit.Check(t, err)
			wants(t, r)
			for _, x := range r.Doors {
				if !x.Used {
					t.Errorf("%s is not used: %s", x.Name, x.Reason)
				}
			}
			if len(r.Left) > 0 || r.Counts.Resumes == 0 || r.Counts.Delivered == 0 {
				t.Errorf("left %v, %+v", r.Left, r.Counts)
			}
			for _, x := range r.Times {
				if x.Count == 0 || x.P50 > x.P99 || x.P99 > x.Max {
					t.Errorf("%+v", x)
				}
			}
		})
}

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

// lostAnswers loses every fifth answer to a publish. That is no fault of the deployment: the repeat has the key.
func lostAnswers() *between {
	var n atomic.Int64
	return &between{answer: func(req *http.Request, status int, body string) (int, string) {
		if strings.HasSuffix(req.URL.Path, ":publish") && n.Add(1)%5 == 0 {
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

// A server that ends in the middle leaves what nobody can tell, and says of which promise.
func TestRun_serverEnds(t *testing.T) {
	d := apptest.Start(t)
	s := front(t, d, &between{}, false)
	half := time.AfterFunc(2*time.Second, func() { _ = d.Processes[0].Stop() })
	defer half.Stop()
	r, err := look(t, s, d.GRPC, verify.Config{Credential: d.AdminKey, Patience: 3 * time.Second, Timeout: 2 * time.Second})
	testkit.Check(t, err)
	unknown := words(r, verify.Unknown)
	for _, id := range []string{"delivery.answered", "delivery.lost", "repeat.duplicate", "revocation.closed"} {
		if !slices.Contains(unknown, id) {
			t.Errorf("%s is not unknown", id)
		}
	}
	if r.Verdict != verify.Unknown || len(words(r, verify.Broken)) > 0 || len(r.Left) == 0 {
		t.Errorf("%s, broken %v, left %v", r.Verdict, words(r, verify.Broken), r.Left)
	}
}

// What a credential may not do is skipped, and says so.
func TestRun_skips(t *testing.T) {
	d := apptest.Start(t)
	s := front(t, d, &between{}, false)
	grant := func(actions ...authv1.Action) string {
		resp, err := d.Auth.IssueToken(t.Context(), &authv1.IssueTokenRequest{Client: "app", Grants: []*authv1.Grant{{
			Address: "channels/" + verify.Namespace + ":*", Actions: actions,
		}}})
		testkit.Check(t, err)
		return resp.GetToken()
	}
	publisher := grant(authv1.Action_ACTION_PUBLISH)
	both := grant(authv1.Action_ACTION_PUBLISH, authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_HISTORY)
	for name, c := range map[string]struct {
		token string
		only  []string
		held  []string
		all   verify.Word
	}{
		"a publisher":                           {publisher, nil, []string{"delivery.answered", "repeat.duplicate", "repeat.mismatch"}, verify.Partly},
		"a publisher that asks for what it may": {publisher, []string{"repeat"}, []string{"repeat.duplicate", "repeat.mismatch"}, verify.Held},
		"a subscriber too": {both, nil, []string{
			"delivery.answered", "delivery.duplicates", "delivery.foreign", "delivery.gaps", "delivery.lost", "delivery.order", "delivery.resume",
			"delivery.time", "repeat.duplicate", "repeat.mismatch",
		}, verify.Partly},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := look(t, s, d.GRPC, verify.Config{Credential: c.token, Only: c.only, For: 3 * time.Second})
			testkit.Check(t, err)
			held := words(r, verify.Held)
			slices.Sort(held)
			if r.Verdict != c.all || !slices.Equal(held, c.held) {
				t.Errorf("%s, held %v, want %v", r.Verdict, held, c.held)
			}
			for _, p := range r.Promises {
				if p.Verdict == verify.Skipped && p.Reason == "" {
					t.Errorf("%s does not say why", p.ID)
				}
			}
		})
	}
	if _, err := look(t, s, d.GRPC, verify.Config{Credential: grant(authv1.Action_ACTION_PRESENCE)}); !door.Denied(err) {
		t.Errorf("a token without rights: %v", err)
	}
	if _, err := look(t, s, d.GRPC, verify.Config{Credential: "nonsense"}); !door.Unauthenticated(err) {
		t.Errorf("no token: %v", err)
	}
}

// Over Redis nothing of a run is left but what the store keeps of every call for a while.
func TestRun_cleansUp(t *testing.T) {
	server := redistest.Start(t)
	d := apptest.Start(t, apptest.Redis(server.URL()))
	r, err := look(t, front(t, d, &between{}, false), d.GRPC, verify.Config{Credential: d.AdminKey, For: 3 * time.Second})
	testkit.Check(t, err)
	if len(r.Left) > 0 {
		t.Errorf("left %v", r.Left)
	}
	out, err := server.CLI("--scan", "--pattern", "*"+r.Run+"*")
	testkit.Check(t, err)
	for key := range strings.FieldsSeq(out) {
		ttl, err := server.CLI("ttl", key)
		testkit.Check(t, err)
		kind, err := server.CLI("type", key)
		testkit.Check(t, err)
		if strings.TrimSpace(ttl) == "-1" || strings.Contains(key, "{channels/") && strings.TrimSpace(kind) == "stream" {
			t.Errorf("%s is left: a %s with the TTL %s", key, kind, ttl)
		}
	}
}
