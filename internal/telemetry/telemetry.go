// Package telemetry builds what the rooms are handed to speak with: a logger, a metrics registry, and the
// handler of the internal listener.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Config tunes Telemetry. The zero value logs at info to stderr.
type Config struct {
	// Level is debug, info, warn or error; info by default.
	Level string
	// Format is text, json, or auto, which is text on a terminal and JSON elsewhere; auto by default.
	Format string
	// Output is where logs go; stderr by default.
	Output io.Writer
	// Version is shown by trunkline_build_info.
	Version string
}

// Telemetry is what a process speaks with. It is immutable, and its parts may be used concurrently.
type Telemetry struct {
	Log      *slog.Logger
	Registry *prometheus.Registry
}

// New returns the logger and a registry with the Go, process and build collectors. Libraries speak through that logger from then on.
func New(cfg Config) (*Telemetry, error) {
	log, err := newLogger(cfg)
	if err != nil {
		return nil, err
	}
	reg := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "trunkline_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": cfg.Version, "go_version": runtime.Version()},
	})
	build.Set(1)
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build,
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register process metrics: %w", err)
		}
	}
	newest.Store(log)
	return &Telemetry{Log: log, Registry: reg}, nil
}

func newLogger(cfg Config) (*slog.Logger, error) {
	var level slog.Level
	if cfg.Level != "" {
		if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
			return nil, fmt.Errorf("log level %q: allowed are debug, info, warn and error", cfg.Level)
		}
	}
	out := cfg.Output
	if out == nil {
		out = os.Stderr
	}
	options := &slog.HandlerOptions{Level: level}
	switch cfg.Format {
	case "text":
		return slog.New(slog.NewTextHandler(out, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(out, options)), nil
	case "auto", "":
		if Terminal(out) {
			return slog.New(slog.NewTextHandler(out, options)), nil
		}
		return slog.New(slog.NewJSONHandler(out, options)), nil
	}
	return nil, fmt.Errorf("log format %q: allowed are auto, text and json", cfg.Format)
}

// Terminal says whether somebody watches what is written to w.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
