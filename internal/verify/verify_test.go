package verify_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/rpc"
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

// A message that is left out of a stream over gRPC is lost, too.
func TestRun_seesFaultsOfStreams(t *testing.T) {
	d := apptest.Start(t)
	var n atomic.Int64
	s, err := door.New(front(t, d, &between{}, false).URL, nil)
	testkit.Check(t, err)
	s.GRPC = overGRPC{apptest.Dial(t, d.GRPC, ""), func(r *publishv1.ConsumeResponse) bool {
		return r.GetMessage() != nil && !strings.Contains(string(r.GetMessage().GetData()), "-last-") && n.Add(1)%10 == 5
	}}
	r, err := verify.Run(t.Context(), verify.Config{Server: s, Credential: d.AdminKey, For: 3 * time.Second, Only: []string{"delivery"}})
	testkit.Check(t, err)
	wants(t, r, "delivery.lost")
}

// A store that is emptied while the run looks is told as gaps, and the run goes on with new tokens.
func TestRun_storeIsEmptied(t *testing.T) {
	server := redistest.Start(t)
	d := apptest.Start(t, apptest.Redis(server.URL()))
	s := front(t, d, &between{}, false)
	half := time.AfterFunc(2*time.Second, func() { _, _ = server.CLI("flushall") })
	defer half.Stop()
	r, err := look(t, s, d.GRPC, verify.Config{Credential: d.AdminKey, Only: []string{"delivery"}, For: 5 * time.Second})
	testkit.Check(t, err)
	if got := words(r, verify.Broken); !slices.Equal(got, []string{"delivery.gaps"}) {
		t.Errorf("%s, broken %v, %+v", r.Verdict, got, r.Promises)
	}
}

// The scopes that docs/operations.md names suffice.
func TestRun_scopes(t *testing.T) {
	key := func(id string, scopes ...string) (string, config.APIKey) {
		text, k := rpc.NewAPIKey(id, scopes...)
		return text, config.APIKey{ID: id, Digest: hex.EncodeToString(k.Digest[:]), Scopes: scopes}
	}
	most, first := key("most", rpc.ScopePublish, rpc.ScopeSubscribe, rpc.ScopeHistory, rpc.ScopeChannels, rpc.ScopeTokensIssue, rpc.ScopeTokensRevoke)
	tokens, second := key("tokens", rpc.ScopeTokensIssue)
	d := apptest.Start(t, apptest.With(func(c *config.Config) { c.APIKeys = append(c.APIKeys, first, second) }))
	s := front(t, d, &between{}, false)
	for name, c := range map[string]struct {
		key     string
		skipped []string
		left    int
	}{
		"all of them":  {most, nil, 0},
		"tokens alone": {tokens, []string{"revocation.closed", "revocation.refused", "revocation.silent"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := look(t, s, d.GRPC, verify.Config{Credential: c.key})
			testkit.Check(t, err)
			if skipped := words(r, verify.Skipped); !slices.Equal(skipped, c.skipped) || len(words(r, verify.Broken)) > 0 || len(r.Left) != c.left {
				t.Errorf("%s, skipped %v, broken %v, left %v", r.Verdict, skipped, words(r, verify.Broken), r.Left)
			}
		})
	}
}

// A redirect leads nowhere: the credential is for the server that was named.
func TestRun_followsNoRedirect(t *testing.T) {
	asked := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { t.Errorf("%s was asked for %s", req.Host, req.URL) }))
	defer asked.Close()
	s := httptest.NewServer(http.RedirectHandler(asked.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	if _, err := look(t, s, "", verify.Config{Credential: "tlk_secret", Patience: time.Second}); err == nil || strings.Contains(err.Error(), "tlk_secret") {
		t.Errorf("a redirect: %v", err)
	}
}

// A run that is interrupted removes what it has made.
func TestRun_interrupted(t *testing.T) {
	d := apptest.Start(t)
	server, err := door.New(d.HTTP, nil)
	testkit.Check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	half := time.AfterFunc(time.Second, cancel)
	defer half.Stop()
	if _, err := verify.Run(ctx, verify.Config{Server: server, Credential: d.AdminKey, For: time.Minute}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	resp, err := d.Channels.ListChannels(t.Context(), &publishv1.ListChannelsRequest{})
	testkit.Check(t, err)
	if len(resp.GetChannels()) > 0 {
		t.Errorf("left: %v", resp.GetChannels())
	}
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
