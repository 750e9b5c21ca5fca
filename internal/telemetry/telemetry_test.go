package telemetry_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/grpclog"

	"github.com/trunkline/trunkline/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNew_LogsInTheFormatAsked(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{"text", "level=INFO msg=hello"}, {"json", `"msg":"hello"`}, {"auto", `"msg":"hello"`}, {"", `"msg":"hello"`},
	} {
		var out bytes.Buffer
		tel, err := telemetry.New(telemetry.Config{Format: c.format, Output: &out})
		if err != nil {
			t.Fatal(err)
		}
		tel.Log.Debug("quiet")
		tel.Log.Info("hello")
		if got := out.String(); !strings.Contains(got, c.want) || strings.Contains(got, "quiet") {
			t.Errorf("format %q wrote %q, want %q and nothing below info", c.format, got, c.want)
		}
	}
}

func TestNew_RefusesWhatItDoesNotKnow(t *testing.T) {
	for _, cfg := range []telemetry.Config{{Level: "loud"}, {Format: "xml"}} {
		if _, err := telemetry.New(cfg); err == nil || !strings.Contains(err.Error(), "allowed are") {
			t.Errorf("New(%+v) = %v, want an error that says what is allowed", cfg, err)
		}
	}
}

func TestInternal(t *testing.T) {
	tel, err := telemetry.New(telemetry.Config{Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	down := errors.New("nobody answers")
	handler := telemetry.Internal(tel.Registry, telemetry.InternalConfig{Checks: []telemetry.Check{
		{Name: "store", Run: func(context.Context) error { return down }},
		{Name: "feed", Run: func(ctx context.Context) error { _, ok := ctx.Deadline(); return unless(ok) }},
	}})
	get := func(target string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		return w
	}
	if w := get("/livez"); w.Code != http.StatusOK {
		t.Errorf("/livez = %d although only the store is away", w.Code)
	}
	w := get("/readyz?verbose")
	if w.Code != http.StatusServiceUnavailable || w.Body.String() != "[-] store: nobody answers\n[+] feed: ok\nnot ready: store\n" {
		t.Errorf("/readyz?verbose = %d %q", w.Code, w.Body)
	}
	down = nil
	if w := get("/readyz"); w.Code != http.StatusOK || w.Body.String() != "ready\n" {
		t.Errorf("/readyz = %d %q", w.Code, w.Body)
	}
	metrics := get("/metrics").Body.String()
	for _, want := range []string{`trunkline_build_info{go_version="go`, `version="1.2.3"} 1`, "go_goroutines", "process_open_fds"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	if w := get("/debug/pprof/"); w.Code != http.StatusNotFound {
		t.Errorf("/debug/pprof/ = %d without Profiling", w.Code)
	}
}

func unless(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("no deadline")
}

// Waiting is recorded while a block profile is taken, and only then.
func TestBlockProfile(t *testing.T) {
	tel, err := telemetry.New(telemetry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	stop, turns := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { waitInTurns(stop, turns) })
	}
	w := httptest.NewRecorder()
	telemetry.Internal(tel.Registry, telemetry.InternalConfig{Profiling: true}).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/debug/pprof/block?seconds=1", nil))
	close(stop)
	wg.Wait()
	profile, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(profile)
	if err != nil || !strings.Contains(string(text), "waitInTurns") {
		t.Errorf("the profile has no goroutine that waits: %v, %d bytes", err, len(text))
	}
}

func waitInTurns(stop, turns chan struct{}) {
	for {
		select {
		case turns <- struct{}{}:
		case <-turns:
		case <-stop:
			return
		}
	}
}

// Libraries with a log for the whole process speak in ours, each time in one line.
func TestTakeLibraries(t *testing.T) {
	telemetry.TakeLibraries()
	var out bytes.Buffer
	if _, err := telemetry.New(telemetry.Config{Level: "debug", Format: "json", Output: &out}); err != nil {
		t.Fatal(err)
	}
	grpclog.Errorf("Marshal error: %v", errors.New("out of\nrange"))
	grpclog.Warning("a warning")
	grpclog.Info("every connection")
	log.Print("Unsolicited response")
	var got []string
	for line := range strings.Lines(out.String()) {
		var l struct{ Level, Library, Said string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		got = append(got, l.Level+" "+l.Library+": "+l.Said)
	}
	want := []string{"WARN grpc: Marshal error: out of\nrange", "DEBUG grpc: a warning", "DEBUG standard log: Unsolicited response"}
	if !slices.Equal(got, want) {
		t.Errorf("said %q, want %q", got, want)
	}
	out.Reset()
	for range 100 { // as often as something fails
		grpclog.Error("again")
	}
	if n := strings.Count(out.String(), `"WARN"`); n < 1 || n > 5 {
		t.Errorf("%d warnings", n)
	}
}
