package app_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// startSmall runs a system whose accounts may use very little.
func startSmall(t *testing.T) *writing {
	return startWrites(t, apptest.With(func(c *config.Config) {
		c.Quotas.Client = config.Allowance{Addresses: 3, Subscriptions: 5}
		c.Quotas.Key = config.Allowance{Addresses: 50, Tokens: 3, Revocations: 3, Channels: 5}
	}))
}

// A namespace gets so many new addresses from everybody together, whatever door they come by.
func TestQuotas_ofANamespaceAtEveryDoor(t *testing.T) {
	h := startWrites(t, apptest.With(func(c *config.Config) { c.Channels.Defaults.Addresses = 3 }))
	n, tried := 0, 0
	for _, w := range ways() {
		if w.silent || w.kind != "" || strings.Contains(w.name, "dead letters") || w.of == "StateService.DeleteState" || w.of == "DeleteStateRequest.address" {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			n++
			h := h.in(t, fmt.Sprint("me-", n))
			token := h.Token(t, &authv1.IssueTokenRequest{Client: h.me, User: h.me}, "channels/*")
			for ; tried < 3; tried++ {
				if got := w.write(h, token, fmt.Sprint("channels/known-", tried)); got != "" {
					t.Fatalf("address %d is answered with %q", tried, got)
				}
			}
			if got := w.write(h, token, fmt.Sprint("channels/new-", n)); got != "QUOTA_EXCEEDED" {
				t.Errorf("one more address is answered with %q", got)
			}
			if got := w.write(h, token, "channels/known-0"); got != "" {
				t.Errorf("a known one is answered with %q", got)
			}
		})
	}
	if n < 5 {
		t.Errorf("only %d doors were tried", n)
	}
}

// Whatever door a client writes through, it pays for the addresses that are new, from one account; and nobody else does.
func TestQuotas_ofAddressesAtEveryDoor(t *testing.T) {
	h := startSmall(t)
	n := 0
	for _, w := range ways() {
		if w.silent || strings.Contains(w.name, "dead letters") || w.of == "StateService.DeleteState" || w.of == "DeleteStateRequest.address" {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			n++
			h := h.in(t, fmt.Sprint("me-", n))
			kind, token := "channels/", h.Token(t, &authv1.IssueTokenRequest{Client: h.me, User: h.me}, "channels/*", "broadcast/topics/*")
			if w.kind != "" {
				kind = string(w.kind) + "/topics/"
			}
			for i := range 5 {
				want := ""
				if i >= 3 {
					want = "QUOTA_EXCEEDED"
				}
				if got := w.write(h, token, fmt.Sprintf("%snew-%d-%d", kind, n, i)); got != want {
					t.Errorf("write %d is answered with %q, want %q", i, got, want)
				}
			}
			if got := w.write(h, token, fmt.Sprintf("%snew-%d-0", kind, n)); got != "" {
				t.Errorf("a known address: %q", got)
			}
			other := h.Token(t, &authv1.IssueTokenRequest{Client: "tablet", User: h.me}, "channels/*", "broadcast/topics/*")
			if got := w.write(h, other, fmt.Sprintf("%smore-%d", kind, n)); got != "QUOTA_EXCEEDED" {
				t.Errorf("another client of the user: %q", got)
			}
			stranger := h.Token(t, &authv1.IssueTokenRequest{Client: h.me + "-b", User: h.me + "-b"}, "channels/*", "broadcast/topics/*")
			if got := w.write(h, stranger, fmt.Sprintf("%sother-%d", kind, n)); got != "" {
				t.Errorf("another user: %q", got)
			}
		})
	}
}

// Reading and subscribing make a store remember an address, too.
func TestQuotas_ofReaders(t *testing.T) {
	h := startSmall(t)
	with := func(user string) (token string) {
		return h.Token(t, &authv1.IssueTokenRequest{Client: user, User: user}, "channels/*")
	}
	reader := publishv1.NewChannelServiceClient(apptest.Dial(t, h.GRPC, with("ada")))
	for i := range 4 {
		_, err := reader.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: fmt.Sprint("channels/read-", i)})
		if got := reason(err); (i < 3) != (got == "") || i == 3 && got != "QUOTA_EXCEEDED" {
			t.Errorf("read %d: %q", i, got)
		}
	}
	ws := h.socket("ws"+strings.TrimPrefix(h.Edges[0], "http")+"/v1/ws?token="+with("bob"), "trunkline.v1.json")
	for i, want := range []string{"", "", "", "QUOTA_EXCEEDED"} {
		if got := subscribe(t, ws, i+1, fmt.Sprint("channels/followed-", i)); got != want {
			t.Errorf("subscription %d: %q", i, got)
		}
	}
	again := h.socket("ws"+strings.TrimPrefix(h.Edges[0], "http")+"/v1/ws?token="+with("bob"), "trunkline.v1.json")
	for i, want := range []string{"", "", "QUOTA_EXCEEDED"} { // the limit is five
		if got := subscribe(t, again, i+1, fmt.Sprint("channels/followed-", i)); got != want {
			t.Errorf("subscription %d to a known one: %q", i, got)
		}
	}
}

// subscribe sends the command and returns the reason of its refusal.
func subscribe(t *testing.T, ws *websocket.Conn, id int, to string) string {
	t.Helper()
	testkit.Check(t, ws.WriteJSON(map[string]any{"id": id, "subscribe": map[string]any{"address": to}}))
	for {
		var f struct {
			ID    int `json:"id"`
			Error struct {
				Reason   string            `json:"reason"`
				Metadata map[string]string `json:"metadata"`
			} `json:"error"`
		}
		testkit.Check(t, ws.ReadJSON(&f))
		if f.ID == id {
			return f.Error.Reason
		}
	}
}

// What one API key makes the store keep is its own account. The refusal names the limit and when to come back.
func TestQuotas_ofAPIKeys(t *testing.T) {
	h := startSmall(t)
	ctx := t.Context()
	last := func(n int, call func(i int) error) error {
		t.Helper()
		for i := range n {
			testkit.Check(t, call(i))
		}
		return call(n)
	}
	for setting, err := range map[string]error{
		"quotas.key.tokens_per_hour": last(3, func(i int) error {
			_, err := h.Auth.IssueToken(ctx, &authv1.IssueTokenRequest{Client: fmt.Sprint(i), Refreshable: true})
			return err
		}),
		"quotas.key.revocations_per_hour": last(3, func(i int) error {
			_, err := h.Auth.RevokeToken(ctx, &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Client{Client: fmt.Sprint(i)}})
			return err
		}),
		"quotas.key.channels_per_hour": last(1, func(i int) error { // 4 KiB of labels
			labels := map[string]string{}
			for j := range 4 {
				labels[fmt.Sprint(j)] = strings.Repeat("x", 1024)
			}
			_, err := h.Channels.CreateChannel(ctx, &publishv1.CreateChannelRequest{Name: fmt.Sprint("channels/c-", i), Labels: labels})
			return err
		}),
	} {
		var failure *errdetails.QuotaFailure
		var retry *errdetails.RetryInfo
		for _, d := range status.Convert(err).Details() {
			switch d := d.(type) {
			case *errdetails.QuotaFailure:
				failure = d
			case *errdetails.RetryInfo:
				retry = d
			}
		}
		if reason(err) != "QUOTA_EXCEEDED" || failure.GetViolations()[0].GetQuotaId() != setting || retry.GetRetryDelay().AsDuration() <= 0 {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

// REST tells it as 429 with Retry-After and the detail that names the limit.
func TestQuotas_overREST(t *testing.T) {
	h := startSmall(t)
	token := h.Token(t, &authv1.IssueTokenRequest{Client: "ada", User: "ada"}, "channels/*")
	for i := range 4 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("%s/v1/channels/r-%d:publish", h.HTTP, i), strings.NewReader(`{"data":1}`))
		testkit.Check(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		testkit.Check(t, err)
		body, err := io.ReadAll(resp.Body)
		testkit.Check(t, err)
		_ = resp.Body.Close()
		if i < 3 {
			continue
		}
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" ||
			!strings.Contains(string(body), "google.rpc.QuotaFailure") || !strings.Contains(string(body), "quotas.client.addresses_per_hour") {
			t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
		}
	}
}
