package config_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/config"
)

var webhookSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte(strong[:32]))

func TestLoad_Webhooks(t *testing.T) {
	key := write(t, "secret", webhookSecret+"\n")
	l, err := app.Load(config.Sources{Files: []string{write(t, "t.yaml", `
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
	_, err = app.Load(config.Sources{Files: []string{write(t, "bad.yaml", `
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
	_, err = app.Load(config.Sources{Files: []string{write(t, "wrong.yaml", `
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
