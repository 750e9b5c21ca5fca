package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// A page of another origin follows a channel with the EventSource of its browser, through a proxy. It gets a ticket with its
// token, and comes back by itself when the network fails. A token that is refused shows as a close code.
func TestEventSource_inChromium(t *testing.T) {
	needs(t, modules, chromium)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>a page of another origin</title>"))
	}))
	defer page.Close()
	h := apptest.Start(t, apptest.Setting(t, "http.allowed_origins", page.URL), apptest.Setting(t, "edge.allowed_origins", page.URL))
	target, err := url.Parse(h.HTTP)
	testkit.Check(t, err)
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.FlushInterval = -1
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	proxy := httptest.NewServer(forward)
	defer proxy.Close()
	publish := func(data string) {
		_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/orders:eu", Data: []byte(data)})
		testkit.Check(t, err)
	}
	script(t, func(line string) {
		switch {
		case line == "OPEN":
			publish("1")
		case line == "CUT":
			proxy.CloseClientConnections()
			publish("2")
		case strings.HasPrefix(line, "LOG "):
			t.Log(line)
		}
	}, "node", "testdata/eventsource.mjs", page.URL, proxy.URL, h.Token(t, nil, "channels/orders:eu"))
}
