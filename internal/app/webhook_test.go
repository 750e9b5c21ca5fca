package app_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
)

var webhookSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte(strong[:32]))

func TestLoad_Webhooks(t *testing.T) {
	key := write(t, "secret", webhookSecret+"\n")
	l, err := app.Load(app.Sources{Files: []string{write(t, "t.yaml", `
dev: true
hooks:
  events: {enabled: true}
  webhooks:
    - {name: crm, url: "https://crm.example.com/hook", secrets_file: `+key+`, kinds: [connected, disconnected]}
    - {name: local, url: "http://10.0.0.1/hook", secrets: [`+webhookSecret+`, `+webhookSecret+`], allow_private: true, timeout: 1s, give_up_after: 1h}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	hooks := l.Config.Hooks.Webhooks
	if len(hooks) != 2 || hooks[0].Secrets[0].Reveal() != webhookSecret || len(hooks[1].Secrets) != 2 || hooks[1].GiveUpAfter != time.Hour {
		t.Errorf("webhooks are %+v", hooks)
	}
	for _, v := range l.Values() {
		if strings.Contains(v.Value, webhookSecret[6:]) {
			t.Errorf("%s shows a secret", v.Key)
		}
	}
	_, err = app.Load(app.Sources{Files: []string{write(t, "bad.yaml", `
dev: true
hooks:
  events: {length: 10, age: 1s}
  webhooks:
    - {name: a, url: "http://crm.example.com/`+strong+`", secrets: [`+webhookSecret+`]}
    - {name: a, url: "https://crm.example.com/`+strong+`", kinds: [joined]}
    - {url: "ftp://`+strong+`", secrets: [whsec_`+strong+`, `+strong+`], timeout: 1h}
`)}})
	if err == nil {
		t.Fatal("it is taken")
	}
	text := err.Error()
	for _, want := range []string{
		"hooks.events.length: 10 is too small", "hooks.events.age: 1s is too small",
		`hooks.webhooks[1].kinds[0]: "joined" is not known`, "hooks.webhooks[2].url: is not a URL",
		"hooks.webhooks[2].secrets[0]: •••• is not whsec_", "hooks.webhooks[2].secrets[1]: •••• is not whsec_", "1h is too large",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%v", want, text)
		}
	}
	_, err = app.Load(app.Sources{Files: []string{write(t, "wrong.yaml", `
dev: true
hooks:
  webhooks:
    - {name: a, url: "http://crm.example.com/`+strong+`", secrets: [`+webhookSecret+`]}
    - {name: a, url: "https://crm.example.com/`+strong+`"}
`)}})
	if err == nil {
		t.Fatal("it is taken")
	}
	text += err.Error()
	for _, want := range []string{
		"hooks.events.enabled: is not set", "hooks.webhooks[0]: url is not https", `hooks.webhooks[1]: name "a" is empty or taken`, "hooks.webhooks[1]: secrets is empty",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%v", want, text)
		}
	}
	for _, secret := range []string{strong, webhookSecret} {
		if strings.Contains(text, secret) {
			t.Errorf("a secret in the error:\n%v", text)
		}
	}
}

// Two publish services over one Redis send to one webhook: each event once and in order, also when one of them stops.
func TestRun_Webhook(t *testing.T) {
	taken := make(chan string, 1000) // the clients, in order
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct{ Data struct{ Client string } }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("webhook-signature") == "" {
			t.Errorf("headers %v, %v", r.Header, err)
		}
		taken <- body.Data.Client
	}))
	defer receiver.Close()
	h := apptest.Start(t, apptest.Redis(redistest.Start(t).URL()), apptest.Split(1), apptest.With(func(c *app.Config) {
		c.Hooks.Events.Enabled = true
		c.Hooks.Webhooks = []app.Webhook{{
			Name: "test", URL: receiver.URL, Secrets: []app.Secret{app.Secret(webhookSecret)}, AllowPrivate: true, Kinds: []string{"connected"},
		}}
	}))
	connect := func(name string) {
		t.Helper()
		token := h.Token(t, &authv1.IssueTokenRequest{Client: name})
		h.Connect(t, client.Config{Token: func(context.Context) (string, error) { return token, nil }})
	}
	expect := func(name string) bool {
		t.Helper()
		select {
		case got := <-taken:
			return got == name
		case <-time.After(20 * time.Second):
			t.Fatalf("%s does not come", name)
			return false
		}
	}
	n := 0
	for ; len(taken) == 0; n++ { // a new webhook begins when its sender does
		connect(fmt.Sprint("first", n))
	}
	for !expect(fmt.Sprint("first", n-1)) {
	}
	first := h.Processes[1]
	another := first.Config
	another.Node = ""
	h.Start(t, another)
	for _, phase := range []string{"a", "b"} {
		for i := range 5 {
			connect(fmt.Sprint(phase, i))
		}
		for i := range 5 {
			if !expect(fmt.Sprint(phase, i)) {
				t.Fatalf("%s%d is not the next", phase, i)
			}
		}
		if err := first.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if len(taken) > 0 {
		t.Errorf("%s comes too", <-taken)
	}
}
