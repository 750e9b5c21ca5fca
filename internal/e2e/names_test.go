package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/trunkline/trunkline/client"
	adminv1 "github.com/trunkline/trunkline/gen/go/trunkline/admin/v1"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

// called is a user whom another system has named, and how that is spelled.
type called struct {
	raw, canonical string
	// texts are spellings in a field, addresses those in an address, and paths those in a URL.
	texts, addresses, paths []string
}

// octets escapes every byte.
func octets(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

func spell(tb testing.TB, raw string) called {
	tb.Helper()
	canonical, err := bus.NameOf("user", raw)
	testkit.Check(tb, err)
	c := called{raw: raw, canonical: canonical}
	mixed := strings.ReplaceAll(canonical, "%7C", "%7c")
	c.texts = []string{canonical, octets(raw), mixed}
	c.addresses = c.texts
	if !strings.Contains(raw, "%") {
		c.texts = append(c.texts, raw)
		if !strings.ContainsAny(raw, "/*") {
			c.addresses = append(c.addresses, raw)
		}
	}
	for _, text := range c.addresses {
		c.paths = append(c.paths, url.PathEscape(text)) // as a library encodes a value
	}
	if !hexAfterPercent(raw) {
		c.paths = append(c.paths, url.PathEscape(raw), canonical, octets(raw))
	}
	if raw == ".." { // no path has such a part, escaped once or not
		c.paths = []string{url.PathEscape(octets(raw))}
	}
	return c
}

// hexAfterPercent says whether a name looks as if it were escaped itself.
func hexAfterPercent(raw string) bool {
	_, after, found := strings.Cut(raw, "%")
	return found && len(after) >= 2 && strings.Trim(after[:2], "0123456789abcdefABCDEF") == ""
}

var foreign = []string{
	"auth0|5f7c8ec7c33c6c004bbafe82", "google-oauth2|1035", `CORP\ada`, "ada lovelace", "a/b", "users/ada/topics/x", "50% off", "a%7Cb", "*",
	"..", ":publish", "x:publish", "-", "{tag}", "é", "e\u0301", "\u202eada", strings.Repeat("😀", 63), strings.Repeat("|", 253), "'\"<b>&?#;,",
}

// doors is one user and a deployment.
type doors struct {
	*apptest.Deployment
	t     *testing.T
	who   called
	token string
	got   chan *publishv1.Message
	inbox publishv1.InboxServiceClient
}

// TestNames walks every door with every spelling of a name that another system has given.
func TestNames(t *testing.T) {
	apptest.Everywhere(t, func(t *testing.T, opts ...apptest.Option) *apptest.Deployment {
		t.Helper()
		return apptest.Start(t, append(opts, apptest.Setting(t, "hooks.events.enabled", "true"))...)
	}, func(t *testing.T, d *apptest.Deployment) {
		seen := map[string]string{}
		for _, raw := range foreign {
			who := spell(t, raw)
			if other, twice := seen[who.canonical]; twice {
				t.Fatalf("%q and %q are both %s", raw, other, who.canonical)
			}
			seen[who.canonical] = raw
			t.Run(strings.ReplaceAll(fmt.Sprintf("%.24s", who.canonical), "/", "_"), func(t *testing.T) { walk(t, d, who) })
		}
	})
}

func walk(t *testing.T, d *apptest.Deployment, who called) {
	conn := apptest.Dial(t, d.Processes[0].GRPC, d.AdminKey)
	if d.GRPC != "" {
		conn = apptest.Dial(t, d.GRPC, d.AdminKey)
	}
	w := &doors{Deployment: d, t: t, who: who, got: make(chan *publishv1.Message, 64), inbox: publishv1.NewInboxServiceClient(conn)}
	w.issued()
	connected := make(chan *edgev1.Connected, 4)
	c := d.Connect(t, client.Config{
		JSON:        true,
		ManualAck:   true,
		Token:       func(context.Context) (string, error) { return w.token, nil },
		OnConnected: func(c *edgev1.Connected) { connected <- c },
		OnMessage:   func(m *publishv1.Message) { w.got <- m },
	})
	if got := (<-connected).GetUser(); got != who.canonical {
		t.Errorf("connected.user is %q", got)
	}
	w.published()
	w.batched(c)
	w.repeated()
	w.acknowledged()
	w.listed(c)
	w.streamed()
	w.told()
	w.revoked(c)
}

// issued has tokens of every spelling stand for the one user, and keeps the last.
func (w *doors) issued() {
	w.t.Helper()
	for _, text := range w.who.texts {
		w.token = w.Token(w.t, &authv1.IssueTokenRequest{
			User: text, Client: "c-" + text, Session: "s-" + text, Groups: []string{"g-" + text},
		}, "channels/*", "users/"+w.who.addresses[0], "users/"+w.who.canonical+"/topics/*")
		resp, err := w.Auth.ValidateToken(w.t.Context(), &authv1.ValidateTokenRequest{Token: w.token})
		testkit.Check(w.t, err)
		id, want := resp.GetIdentity(), w.who.canonical
		if id.GetUser() != want || strings.Join(id.GetGroups(), " ") != "g-"+want || id.GetSession() != "s-"+want || id.GetClient() != "c-"+want {
			w.t.Errorf("a token for %q is of %v", text, id)
		}
	}
}

// gets waits for the next message to the user.
func (w *doors) gets(by string) *publishv1.Message {
	w.t.Helper()
	select {
	case m := <-w.got:
		if to := m.GetTo(); to != "users/"+w.who.canonical || string(m.GetData()) != by {
			w.t.Errorf("%s: got %s to %s", by, m.GetData(), to)
		}
		return m
	case <-time.After(20 * time.Second):
		w.t.Fatalf("%s did not arrive", by)
		return nil
	}
}

// rest sends a request with the token of a back end.
func (w *doors) rest(method, path, body string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.HTTP+path, strings.NewReader(body))
	testkit.Check(w.t, err)
	req.Header.Set("Authorization", "Bearer "+w.AdminKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	testkit.Check(w.t, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	testkit.Check(w.t, err)
	return resp.StatusCode, string(b)
}

func (w *doors) published() {
	w.t.Helper()
	for i, text := range w.who.addresses {
		by := fmt.Sprintf(`"grpc %d"`, i)
		_, err := w.Publish.Publish(w.t.Context(), &publishv1.PublishRequest{To: "users/" + text, Data: []byte(by)})
		if err != nil {
			w.t.Fatalf("publish to %q: %v", text, err)
		}
		w.gets(by)
	}
	for i, path := range w.who.paths {
		by := fmt.Sprintf(`"rest %d"`, i)
		if status, body := w.rest(http.MethodPost, "/v1/users/"+path+":publish", `{"data":`+by+`}`); status != http.StatusOK {
			w.t.Fatalf("%s: %d %s", path, status, body)
		}
		w.gets(by)
	}
}

// batched publishes through REST's batch, and from the client itself, to its own user and as its own client.
func (w *doors) batched(c *client.Client) {
	w.t.Helper()
	for i, text := range w.who.addresses {
		by := fmt.Sprintf(`"batch %d"`, i)
		body, err := json.Marshal(map[string]any{"requests": []any{map[string]any{"to": "users/" + text, "data": json.RawMessage(by)}}})
		testkit.Check(w.t, err)
		if status, answer := w.rest(http.MethodPost, "/v1/messages:batchPublish", string(body)); status != http.StatusOK {
			w.t.Fatalf("batch to %q: %d %s", text, status, answer)
		}
		w.gets(by)
		by = fmt.Sprintf(`"frame %d"`, i)
		_, err = c.Publish(w.t.Context(), &publishv1.PublishRequest{To: "users/" + text, Data: []byte(by)})
		testkit.Check(w.t, err)
		if m := w.gets(by); m.GetSender().GetUser() != w.who.canonical {
			w.t.Errorf("sender is %v", m.GetSender())
		}
	}
	_, err := c.Subscribe(w.t.Context(), client.Subscription{Address: "channels/live:r"})
	testkit.Check(w.t, err)
	for i, text := range w.who.texts {
		by := fmt.Sprintf(`"narrowed %d"`, i)
		_, err = w.Publish.Publish(w.t.Context(), &publishv1.PublishRequest{
			To: "channels/live:r", Recipients: []string{"c-" + text}, Sender: &publishv1.Sender{User: text}, Data: []byte(by),
		})
		testkit.Check(w.t, err)
		if m := <-w.got; string(m.GetData()) != by || m.GetSender().GetUser() != w.who.canonical {
			w.t.Errorf("%s: got %v", by, m)
		}
	}
	testkit.Check(w.t, c.Unsubscribe(w.t.Context(), "channels/live:r"))
}

// repeated sends one message in all spellings: it is sent once.
func (w *doors) repeated() {
	w.t.Helper()
	for i, text := range w.who.addresses {
		resp, err := w.Publish.Publish(w.t.Context(), &publishv1.PublishRequest{
			To: "users/" + text, Data: []byte(`"once"`), IdempotencyKey: "k",
			Sender: &publishv1.Sender{User: w.who.texts[i], Client: "c-" + w.who.texts[i]},
		})
		testkit.Check(w.t, err)
		if resp.GetDuplicate() != (i > 0) {
			w.t.Errorf("%q: duplicate is %v", text, resp.GetDuplicate())
		}
	}
	w.gets(`"once"`)
}

// acknowledged sends messages that ask for an ack in one spelling, and does all else with another.
func (w *doors) acknowledged() {
	w.t.Helper()
	ctx := w.t.Context()
	for i, text := range w.who.addresses {
		other := "users/" + w.who.addresses[(i+1)%len(w.who.addresses)]
		by := fmt.Sprintf(`"ack %d"`, i)
		var ids []string
		for range 2 {
			resp, err := w.Publish.Publish(ctx, &publishv1.PublishRequest{
				To: "users/" + text, Data: []byte(by), Ack: &publishv1.AckPolicy{Timeout: durationpb.New(time.Hour)},
			})
			testkit.Check(w.t, err)
			ids = append(ids, resp.GetId())
			w.gets(by)
		}
		page, err := w.inbox.ListInbox(ctx, &publishv1.ListInboxRequest{Address: "users/" + text, PageSize: 1})
		testkit.Check(w.t, err)
		next, err := w.inbox.ListInbox(ctx, &publishv1.ListInboxRequest{Address: other, PageSize: 1, PageToken: page.GetNextPageToken()})
		testkit.Check(w.t, err)
		if len(page.GetEntries()) != 1 || len(next.GetEntries()) != 1 || next.GetEntries()[0].GetMessage().GetId() != ids[1] {
			w.t.Errorf("inbox of %q: %v, then %v", text, page, next)
		}
		_, err = w.inbox.AckMessages(ctx, &publishv1.AckMessagesRequest{Address: other, Client: "c-" + w.who.texts[i], Ids: ids})
		testkit.Check(w.t, err)
		receipt, err := w.Publish.GetReceipt(ctx, &publishv1.GetReceiptRequest{Address: other, Id: ids[0]})
		testkit.Check(w.t, err)
		if r := receipt.GetReceipt(); r.GetAddress() != "users/"+w.who.canonical || r.GetRecipients()[0].GetClient() != "c-"+w.who.canonical {
			w.t.Errorf("receipt is %v", r)
		}
		why, err := w.Admin.ExplainDelivery(ctx, &adminv1.ExplainDeliveryRequest{
			Address: other, Id: ids[0], Client: "c-" + w.who.texts[i], User: w.who.texts[i],
		})
		testkit.Check(w.t, err)
		if why.GetVerdict() != "delivered" {
			w.t.Errorf("explained: %v", why)
		}
		path := "/v1/users/" + w.who.paths[i%len(w.who.paths)]
		if status, body := w.rest(http.MethodGet, path+"/receipts/"+ids[0], ""); status != http.StatusOK || !strings.Contains(body, ids[0]) {
			w.t.Errorf("%s: %d %s", path, status, body)
		}
		if status, body := w.rest(http.MethodGet, path+"/inbox", ""); status != http.StatusOK || strings.Contains(body, ids[0]) {
			w.t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// listed follows a topic of the user, and looks at who is there and at states.
func (w *doors) listed(c *client.Client) {
	w.t.Helper()
	ctx := w.t.Context()
	for i, text := range w.who.addresses {
		topic := fmt.Sprintf("t%d", i)
		other := w.who.addresses[(i+1)%len(w.who.addresses)]
		sub, err := c.Subscribe(ctx, client.Subscription{Address: "users/" + text + "/topics/" + topic})
		testkit.Check(w.t, err)
		if sub.GetAddress() != "users/"+w.who.canonical+"/topics/"+topic {
			w.t.Errorf("subscribed to %s", sub.GetAddress())
		}
		_, err = w.Publish.Publish(ctx, &publishv1.PublishRequest{To: "users/" + other + "/topics/" + topic, Data: []byte(`"topic"`)})
		testkit.Check(w.t, err)
		if m := <-w.got; m.GetTo() != sub.GetAddress() {
			w.t.Errorf("got %v", m)
		}
		testkit.Check(w.t, c.Unsubscribe(ctx, "users/"+other+"/topics/"+topic))
		patch := fmt.Sprintf(`{"data":{"n":%d}}`, i)
		path := "/v1/users/" + w.who.paths[i%len(w.who.paths)]
		if status, body := w.rest(http.MethodPost, path+"/state:merge", patch); status != http.StatusOK {
			w.t.Errorf("%s: %d %s", path, status, body)
		}
		w.gets(fmt.Sprintf(`{"n":%d}`, i))
		status, body := w.rest(http.MethodGet, "/v1/users/"+w.who.paths[(i+1)%len(w.who.paths)]+"/state", "")
		if status != http.StatusOK || !strings.Contains(body, fmt.Sprintf(`{"n":%d}`, i)) {
			w.t.Errorf("state of %s: %d %s", path, status, body)
		}
	}
}

// streamed reads the user's messages as events.
func (w *doors) streamed() {
	w.t.Helper()
	for i, path := range w.who.paths {
		ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.HTTP+"/v1/users/"+path+"/stream", nil)
		testkit.Check(w.t, err)
		req.Header.Set("Authorization", "Bearer "+w.token)
		req.Header.Set("Accept", "text/event-stream")
		resp, err := http.DefaultClient.Do(req)
		testkit.Check(w.t, err)
		by, sent := fmt.Sprintf(`"event %d"`, i), false
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			line := lines.Text()
			if !sent && strings.Contains(line, `"users/`+w.who.canonical+`"`) { // subscribed
				sent = true
				_, err := w.Publish.Publish(ctx, &publishv1.PublishRequest{To: "users/" + w.who.canonical, Data: []byte(by)})
				testkit.Check(w.t, err)
				w.gets(by)
			} else if strings.Contains(line, by) {
				by = ""
				break
			}
		}
		_ = resp.Body.Close()
		cancel()
		if by != "" {
			w.t.Errorf("%s: %d, and %s did not arrive", path, resp.StatusCode, by)
		}
	}
}

// told looks for the user in the log of events.
func (w *doors) told() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	at := w.GRPC
	stream, err := hooksv1.NewEventServiceClient(apptest.Dial(w.t, at, w.AdminKey)).WatchEvents(ctx, &hooksv1.WatchEventsRequest{FromBeginning: true})
	testkit.Check(w.t, err)
	for {
		r, err := stream.Recv()
		if err != nil {
			w.t.Fatalf("%s is in no event: %v", w.who.canonical, err)
		}
		if e := r.GetEvent(); e.GetUser() == w.who.canonical && e.GetClient() == "c-"+w.who.canonical && e.GetSession() == "s-"+w.who.canonical {
			return
		}
	}
}

// revoked ends tokens by every spelling of the user; the last one is of the open connection.
func (w *doors) revoked(c *client.Client) {
	w.t.Helper()
	token := w.token
	for _, text := range w.who.texts {
		_, err := w.Auth.RevokeToken(w.t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: text}})
		testkit.Check(w.t, err)
		if _, err := w.Auth.ValidateToken(w.t.Context(), &authv1.ValidateTokenRequest{Token: token}); err == nil {
			w.t.Errorf("revoked by %q, and the token is good", text)
		}
		token = w.Token(w.t, &authv1.IssueTokenRequest{User: w.who.canonical})
	}
	testkit.Eventually(w.t, "the end of the connection", func() bool {
		ctx, cancel := context.WithTimeout(w.t.Context(), 100*time.Millisecond)
		defer cancel()
		return c.Ping(ctx) != nil
	})
}
