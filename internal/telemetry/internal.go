package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
)

// Check is one thing that must be so for the process to be ready.
type Check struct {
	// Name is shown by /readyz?verbose.
	Name string
	// Run returns nil when it is so. Its context has a deadline.
	Run func(ctx context.Context) error
	// Degrades says that the process is of use without it: it then stays ready, and says what is missing.
	Degrades bool
}

// checkTimeout is how long one check may take.
const checkTimeout = 2 * time.Second

// InternalConfig tunes the internal handler.
type InternalConfig struct {
	// Checks are run for every /readyz, all at once.
	Checks []Check
	// Profiling serves /debug/pprof, which shows memory to whoever asks: loopback only.
	Profiling bool
}

// Internal returns the handler of the internal listener: /metrics, /livez, /readyz and /debug/pprof. A
// process that answers /livez is alive, whatever its store does; /readyz says whether it should be sent to.
func Internal(reg *prometheus.Registry, cfg InternalConfig) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, cfg.Checks) })
	if cfg.Profiling {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.Handle("GET /debug/pprof/block", &blocking{})
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// blockRate is how many nanoseconds of waiting make one sample, on average.
const blockRate = 10_000

// blocking serves the block profile. Waiting is recorded, and costs something, only while somebody asks with ?seconds=.
type blocking struct{ mu sync.Mutex }

func (b *blocking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	runtime.SetBlockProfileRate(blockRate)
	defer runtime.SetBlockProfileRate(0)
	pprof.Handler("block").ServeHTTP(w, r)
}

// Failed is a check that did not pass.
type Failed struct {
	Name string
	Err  error
	// Degrades is as in the check.
	Degrades bool
}

// RunChecks runs all checks at once and returns those that failed, in their order.
func RunChecks(ctx context.Context, checks []Check) []Failed {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	errs := make([]error, len(checks))
	var g errgroup.Group
	for i, c := range checks {
		g.Go(func() error {
			errs[i] = c.Run(ctx)
			return nil
		})
	}
	_ = g.Wait()
	var failed []Failed
	for i, err := range errs {
		if err != nil {
			failed = append(failed, Failed{Name: checks[i].Name, Err: err, Degrades: checks[i].Degrades})
		}
	}
	return failed
}

// Down returns the failed checks without which the process is of no use.
func Down(failed []Failed) []Failed {
	return slices.DeleteFunc(slices.Clone(failed), func(f Failed) bool { return f.Degrades })
}

func ready(w http.ResponseWriter, r *http.Request, checks []Check) {
	failed := RunChecks(r.Context(), checks)
	down := Down(failed)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(down) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if r.URL.Query().Has("verbose") {
		why := make(map[string]error, len(failed))
		for _, f := range failed {
			why[f.Name] = f.Err
		}
		for _, c := range checks {
			switch err := why[c.Name]; {
			case err == nil:
				_, _ = fmt.Fprintf(w, "[+] %s: ok\n", c.Name)
			case c.Degrades:
				_, _ = fmt.Fprintf(w, "[~] %s: degraded: %v\n", c.Name, err)
			default:
				_, _ = fmt.Fprintf(w, "[-] %s: %v\n", c.Name, err)
			}
		}
	}
	switch {
	case len(down) > 0:
		_, _ = fmt.Fprintf(w, "not ready: %s\n", names(down))
	case len(failed) > 0:
		_, _ = fmt.Fprintf(w, "ready, degraded: %s\n", names(failed))
	default:
		_, _ = fmt.Fprintln(w, "ready")
	}
}

func names(failed []Failed) string {
	all := make([]string, len(failed))
	for i, f := range failed {
		all[i] = f.Name
	}
	return strings.Join(all, ", ")
}
