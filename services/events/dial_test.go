package events_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/events"
)

func TestCheckPublic(t *testing.T) {
	for _, a := range []string{
		"127.0.0.1", "127.8.8.8", "::1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1",
		"169.254.169.254", "fe80::1", "fe80::1%eth0", "224.0.0.1", "239.1.1.1", "ff02::1", "0.0.0.0", "0.1.2.3", "::", "255.255.255.255", "240.0.0.1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1",
		"2002:7f00:1::", "2001::1", "100.64.0.1", "198.18.0.1", "192.0.0.8", "192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "fec0::1", "100::1",
	} {
		address := a + ":443"
		if strings.Contains(a, ":") {
			address = "[" + a + "]:443"
		}
		if events.CheckPublic(address) == nil {
			t.Errorf("%s is let through", address)
		}
	}
	for _, a := range []string{"93.184.216.34:443", "8.8.8.8:80", "172.32.0.1:443", "100.128.0.1:443", "[2606:4700::1111]:443", "[::ffff:8.8.8.8]:443"} {
		if err := events.CheckPublic(a); err != nil {
			t.Errorf("%s is refused: %v", a, err)
		}
	}
	for _, a := range []string{"", "example.com:443", "8.8.8.8"} {
		if events.CheckPublic(a) == nil {
			t.Errorf("%q is let through", a)
		}
	}
}

// A name that leads to this host is refused when it is dialled, and nothing is sent.
func TestWebhook_reachesNoPrivateAddress(t *testing.T) {
	rec := receive(t, nil)
	port := rec.URL[strings.LastIndexByte(rec.URL, ':'):]
	for i, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"} {
		store := newStore()
		w := begin(t, store)
		var log lines
		cfg := sending(t, rec, func(w *events.Webhook) {
			w.URL, w.AllowPrivate = "https://"+host+port+"/", false
		})
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		h := start(t, store, cfg)
		w.write(bus.EventConnected, fmt.Sprint(i))
		testkit.Eventually(t, "it is refused", func() bool { return strings.Contains(log.String(), "allow_private") })
		h.stop()
	}
	if n := len(rec.attempts()); n != 0 {
		t.Errorf("%d requests came", n)
	}
}

// No redirect is followed, and of an answer no more is read than is worth it.
func TestWebhook_answers(t *testing.T) {
	other := receive(t, nil)
	rec := receive(t, func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch n {
		case 0:
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
			return false
		case 1:
			for r.Context().Err() == nil { // without end
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					break
				}
			}
		}
		return true
	})
	store := newStore()
	w := begin(t, store)
	start(t, store, sending(t, rec))
	w.write(bus.EventConnected, "a")
	w.write(bus.EventConnected, "b")
	testkit.Eventually(t, "both are taken", func() bool { return len(rec.attempts()) == 3 })
	tries := rec.attempts()
	if a, b := bus.EventID("a"), bus.EventID("b"); tries[0].id != a || tries[1].id != a || tries[2].id != b {
		t.Errorf("tries are %+v", tries)
	}
	if len(other.attempts()) != 0 {
		t.Error("the redirect was followed")
	}
}

func TestNew_refusesWebhooks(t *testing.T) {
	rec := receive(t, nil)
	for name, edit := range map[string]func(*events.Webhook){
		"no name": func(w *events.Webhook) { w.Name = "" }, "no secret": func(w *events.Webhook) { w.Secrets = nil },
		"plain text": func(w *events.Webhook) { w.AllowPrivate = false }, "no URL": func(w *events.Webhook) { w.URL = "" },
		"scheme": func(w *events.Webhook) { w.URL = "ftp://example.com" },
	} {
		if _, err := events.New(newStore(), sending(t, rec, edit), nil); err == nil || strings.Contains(err.Error(), rec.URL) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	cfg := sending(t, rec)
	cfg.Webhooks = append(cfg.Webhooks, cfg.Webhooks[0])
	if _, err := events.New(newStore(), cfg, nil); err == nil {
		t.Error("two of one name")
	}
}
