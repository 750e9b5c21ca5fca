package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
)

// ask makes a REST request with the key of the deployment.
func ask(tb testing.TB, d *apptest.Deployment, method, path string, body io.Reader) (status int, answer string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, d.HTTP+path, body)
	testkit.Check(tb, err)
	req.Header.Set("Authorization", "Bearer "+d.AdminKey)
	res, err := http.DefaultClient.Do(req)
	testkit.Check(tb, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	testkit.Check(tb, err)
	return res.StatusCode, string(b)
}

// What publish.max_message allows comes through every door, spelled in whatever way.
func TestLimits_ReachREST(t *testing.T) {
	const largest = 1 << 20
	d := apptest.Start(t, apptest.With(func(c *config.Config) { c.Publish.MaxMessage = largest }))
	for name, body := range map[string]string{
		"JSON":    `{"data":"` + strings.Repeat("x", largest-2) + `"}`,
		"escapes": `{"contentType":"CONTENT_TYPE_TEXT","data":"` + strings.Repeat(`\u0001`, largest) + `"}`,
		"base64":  `{"contentType":"CONTENT_TYPE_BINARY","data":"` + strings.Repeat("AAAA", largest/3) + `"}`,
	} {
		if status, answer := ask(t, d, "POST", "/v1/channels/large:publish", strings.NewReader(body)); status != 200 {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	token := ""
	for _, more := range []bool{true, true, false} {
		var page struct {
			Messages      []json.RawMessage
			NextPageToken string
		}
		status, answer := ask(t, d, "GET", "/v1/channels/large/messages?pageToken="+token, nil)
		testkit.Check(t, json.Unmarshal([]byte(answer), &page))
		if token = page.NextPageToken; status != 200 || len(page.Messages) != 1 || (token != "") != more {
			t.Fatalf("%d with %d messages, next page %q", status, len(page.Messages), token)
		}
	}
	batch := `{"requests":[` + strings.TrimSuffix(strings.Repeat(`{"to":"channels/b","data":"`+strings.Repeat("x", 60_000)+`"},`, 60), ",") + `]}`
	if status, answer := ask(t, d, "POST", "/v1/messages:batchPublish", strings.NewReader(batch)); status != 200 || strings.Contains(answer, `"error"`) {
		t.Errorf("a batch: %d %.300s", status, answer)
	}
	over := `{"data":"` + strings.Repeat("x", largest) + `"}`
	if status, answer := ask(t, d, "POST", "/v1/channels/large:publish", strings.NewReader(over)); status != 400 || !strings.Contains(answer, "MESSAGE_TOO_LARGE") {
		t.Errorf("one byte too many: %d %s", status, answer)
	}
}

// A client that writes everything before it reads gets the refusal, whatever it is, and not a broken connection.
func TestLimits_refusalsAreRead(t *testing.T) {
	d := apptest.Start(t)
	admin := "Authorization: Bearer " + d.AdminKey + "\r\n"
	for name, c := range map[string]struct {
		request, header, status string
		size                    int
	}{
		"too large":       {"POST /v1/channels/a:publish", admin, "413", 20_000_000},
		"no token":        {"POST /v1/channels/a:publish", "", "4", 1_000_000},
		"a wrong token":   {"POST /v1/channels/a:publish", "Authorization: Bearer x\r\n", "4", 1_000_000},
		"no such route":   {"POST /v1/nothing", admin, "404", 1_000_000},
		"no such page":    {"POST /nothing", admin, "404", 1_000_000},
		"a wrong method":  {"PATCH /v1/channels/a:publish", admin, "405", 1_000_000},
		"another type":    {"POST /v1/channels/a:publish", admin + "Content-Type: text/xml\r\n", "415", 1_000_000},
		"another coding":  {"POST /v1/channels/a:publish", admin + "Content-Encoding: br\r\n", "415", 1_000_000},
		"a wrong origin":  {"POST /v1/channels/a:publish", admin + "Origin: https://elsewhere.example\r\n", "4", 1_000_000},
		"a wrong query":   {"POST /v1/channels/a:publish?nothing=1", admin, "4", 1_000_000},
		"a body to a GET": {"GET /v1/channels", admin, "", 20_000_000},
	} {
		for framing, f := range map[string][3]string{
			"declared": {fmt.Sprintf("Content-Length: %d", c.size)},
			"chunked":  {"Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n", c.size), "\r\n0\r\n\r\n"},
		} {
			t.Run(name+", "+framing, func(t *testing.T) {
				conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(d.HTTP, "http://"))
				testkit.Check(t, err)
				defer func() { _ = conn.Close() }()
				testkit.Check(t, conn.SetDeadline(time.Now().Add(time.Minute)))
				_, err = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s%s\r\n\r\n%s", c.request, c.header, f[0], f[1])
				testkit.Check(t, err)
				_, err = conn.Write(append(bytes.Repeat([]byte{' '}, c.size), f[2]...))
				testkit.Check(t, err)
				answer, err := io.ReadAll(conn)
				testkit.Check(t, err)
				if !bytes.HasPrefix(answer, []byte("HTTP/1.1 "+c.status)) {
					t.Errorf("got %.300s", answer)
				}
			})
		}
	}
}

// An item that cannot be decoded fails alone, at its place, by REST as by gRPC.
func TestBatch_ItemsFailAlone(t *testing.T) {
	d := apptest.Start(t)
	bad := []struct{ item, reason, field string }{
		{`{"to":"channels/b","data":"*","contentType":"CONTENT_TYPE_BINARY"}`, "FIELD_INVALID", "data"},
		{`{"to":"channels/b","contentType":"TEXT"}`, "FIELD_INVALID", "contentType"},
		{`{"to":"channels/b","contentType":99,"data":{}}`, "FIELD_INVALID", "content_type"},
		{`{"to":"channels/b","replicas":-1}`, "FIELD_INVALID", "replicas"},
		{`{"to":"channels/b","dta":1}`, "UNKNOWN_FIELD", "dta"},
		{`{"to":7}`, "FIELD_INVALID", "to"},
		{`7`, "FIELD_INVALID", ""},
		{`{"to":"channels/*"}`, "FIELD_INVALID", "to"},
	}
	items := make([]string, 0, 2*len(bad))
	for _, b := range bad {
		items = append(items, `{"to":"channels/b","data":1}`, b.item)
	}
	status, answer := ask(t, d, "POST", "/v1/messages:batchPublish", strings.NewReader(`{"requests":[`+strings.Join(items, ",")+`]}`))
	var resp struct {
		Refused int
		Results []struct {
			OK    *struct{ ID string }
			Error *struct {
				Code            int
				Reason          string
				FieldViolations []struct{ Field string }
			}
		}
	}
	testkit.Check(t, json.Unmarshal([]byte(answer), &resp))
	if status != 200 || len(resp.Results) != len(items) || resp.Refused != len(bad) {
		t.Fatalf("%d %s", status, answer)
	}
	for i, b := range bad {
		if resp.Results[2*i].OK == nil {
			t.Errorf("item %d beside %s was not published", 2*i, b.item)
		}
		e := resp.Results[2*i+1].Error
		if e == nil || e.Code != 3 || e.Reason != b.reason || b.field != "" && (len(e.FieldViolations) == 0 || e.FieldViolations[0].Field != b.field) {
			t.Errorf("%s: %+v", b.item, e)
		}
	}
	page, err := d.Channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: "channels/b"})
	testkit.Check(t, err)
	if len(page.GetMessages()) != len(bad) {
		t.Errorf("%d messages were published, want %d", len(page.GetMessages()), len(bad))
	}
	// All of them wrong, nobody's credentials, and tokens of a wrong type.
	if status, answer := ask(t, d, "POST", "/v1/messages:batchPublish", strings.NewReader(`{"requests":[7,{"to":1}]}`)); status != 200 || strings.Count(answer, `"error"`) != 2 {
		t.Errorf("all wrong: %d %s", status, answer)
	}
	token := d.Token(t, &authv1.IssueTokenRequest{Client: "c"})
	status, answer = ask(t, d, "POST", "/v1/tokens:batchValidate", strings.NewReader(`{"tokens":["`+token+`",7,"x",{}]}`))
	if status != 200 || strings.Count(answer, `"identity"`) != 1 || strings.Count(answer, "must be a string") != 2 || strings.Count(answer, "TOKEN_INVALID") != 1 {
		t.Errorf("tokens: %d %s", status, answer)
	}
	res, err := http.Post(d.HTTP+"/v1/messages:batchPublish", "application/json", strings.NewReader(`{"requests":[7]}`))
	testkit.Check(t, err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without credentials: %d", res.StatusCode)
	}
}

// One depth at every door.
func TestLimits_OneDepthForAll(t *testing.T) {
	d := apptest.Start(t)
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for depth, reason := range map[int]string{64: "", 65: "FIELD_INVALID", 98: "FIELD_INVALID", 150: "FIELD_INVALID", 5000: "FIELD_INVALID"} {
		var got []string
		note := func(err error) {
			why := ""
			if err != nil {
				why = rpc.FromError(err).Reason
			}
			got = append(got, why)
		}
		_, err := d.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/deep", Data: []byte(nested(depth))})
		note(err)
		_, err = publishv1.NewStateServiceClient(apptest.Dial(t, d.GRPC, d.AdminKey)).UpdateState(t.Context(), &publishv1.UpdateStateRequest{
			Address: fmt.Sprintf("channels/state%d", depth), Data: []byte(`{"a":` + nested(depth-1) + `}`),
		})
		note(err)
		for path, body := range map[string]string{
			"/v1/channels/deep:publish":     `{"data":` + nested(depth) + `}`,
			"/v1/channels/deep/state:merge": `{"data":{"a":` + nested(depth-1) + `}}`,
			"/v1/messages:batchPublish":     `{"requests":[{"to":"channels/deep","data":` + nested(depth) + `}]}`,
		} {
			_, answer := ask(t, d, "POST", path, strings.NewReader(body))
			why := ""
			if strings.Contains(answer, `"error"`) {
				why = answer
				if strings.Contains(answer, "FIELD_INVALID") && strings.Contains(answer, "nests deeper than 64") {
					why = "FIELD_INVALID"
				}
			}
			got = append(got, why)
		}
		if slices.ContainsFunc(got, func(why string) bool { return why != reason }) {
			t.Errorf("%d deep: %.600q, want %q at each", depth, got, reason)
		}
	}
}

// A gRPC client with the limits that it has by default reads every page.
func TestPages_FitClientsAsTheyAre(t *testing.T) {
	d := apptest.Start(t)
	for range 100 {
		_, err := d.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/big", Data: []byte(`"` + strings.Repeat("x", 60_000) + `"`)})
		testkit.Check(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	n := 0
	for token, first := "", true; first || token != ""; first = false {
		page, err := d.Channels.ListMessages(ctx, &publishv1.ListMessagesRequest{Address: "channels/big", PageToken: token})
		testkit.Check(t, err)
		n, token = n+len(page.GetMessages()), page.GetNextPageToken()
	}
	if n != 100 {
		t.Errorf("%d messages", n)
	}
}
