package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/config"
)

// settingFlags are the flags of serve that set one key each, in the order of --help.
var settingFlags = []struct{ name, key, usage string }{
	{"roles", "roles", "roles to run: auth,publish,gateway,edge"},
	{"redis", "redis.url", "URL of Redis, such as redis:// or redis+sentinel://; ps shows a password in it, and not in TRUNKLINE_REDIS_URL_FILE"},
	{"upstream", "upstream", "where roles run that do not run here: auth=auth:9090,publish=publish:9090"},
	{"listen", "http.listen", "where HTTP listens; the same as --http-listen"},
	{"http-listen", "http.listen", "where REST, WebSocket and the web pages listen"},
	{"grpc-listen", "grpc.listen", "where gRPC listens"},
	{"internal-listen", "internal.listen", "where metrics, health and profiles listen"},
	{"public-url", "http.public_url", "URL that browsers reach the server under"},
	{"allowed-origins", "edge.allowed_origins", "origins of pages that may connect"},
	{"legacy", "legacy.dialects", "older protocols to speak: " + olderProtocols()},
	{"legacy-open", "legacy.open", "let everybody do what the older protocols let everybody do, outside development mode"},
	{"log-level", "log.level", "debug, info, warn or error"},
}

// olderProtocols lists those that the program was built with.
func olderProtocols() string {
	var names []string
	for _, p := range app.Default().Legacy.Protocols {
		names = append(names, p.Name())
	}
	return strings.Join(append(names, "or all"), ", ")
}

// settingsFrom adds the flags of the configuration to a command and returns what reads them.
func (p *program) settingsFrom(cmd *cobra.Command) func() (*config.Loaded, error) {
	f := cmd.Flags()
	files := f.StringArray("config", nil, "YAML file; again for more (TRUNKLINE_CONFIG; trunkline.yaml if there is one)")
	dev := f.Bool("dev", false, "development mode: in memory, loopback only, local callers are admins")
	set := f.StringArray("set", nil, "any setting, key=value; again for more; for a secret, use its _file: flags show in ps")
	for _, s := range settingFlags {
		f.String(s.name, "", s.usage)
		if setting := f.Lookup(s.name); s.name == "legacy-open" {
			setting.NoOptDefVal = "true"
		}
	}
	return func() (*config.Loaded, error) {
		src := config.Sources{Files: p.files(*files), Env: p.env}
		if *dev || f.Changed("dev") {
			src.Flags = append(src.Flags, config.Flag{Name: "--dev", Key: "dev", Text: fmt.Sprint(*dev)})
		}
		for _, s := range settingFlags {
			f.Visit(func(flag *pflag.Flag) {
				if flag.Name == s.name {
					src.Flags = append(src.Flags, config.Flag{Name: "--" + s.name, Key: s.key, Text: flag.Value.String()})
				}
			})
		}
		for _, assignment := range *set {
			key, text, ok := strings.Cut(assignment, "=")
			if !ok {
				return nil, usageError{fmt.Errorf("--set %s: write key=value", assignment)}
			}
			src.Flags = append(src.Flags, config.Flag{Name: "--set " + key, Key: key, Text: text})
		}
		loaded, err := app.Load(src)
		if err == nil {
			loaded.Config.Version = version
		}
		return loaded, err
	}
}

// standardFile is read when no other is named and it is there.
const standardFile = "trunkline.yaml"

func (p *program) files(named []string) []string {
	if len(named) > 0 {
		return named
	}
	if s := p.getenv("TRUNKLINE_CONFIG"); s != "" {
		return strings.Split(s, ",")
	}
	if _, err := os.Stat(standardFile); err == nil {
		return []string{standardFile}
	}
	return nil
}

func (p *program) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the server: all roles in one process, or some of them", Args: cobra.NoArgs,
		Long: `Run the server. Without --redis everything is in memory and all roles run in this process. Without --dev nothing is open:
the configuration has to hold a signing key (docs/configuration.md). The first SIGTERM stops it in order, a second at once.`,
		Example: "  trunkline serve --dev\n  trunkline serve --config trunkline.yaml\n  trunkline serve --roles edge --redis redis://redis:6379 --upstream auth=auth:9090,publish=publish:9090",
	}
	load := p.settingsFrom(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := load()
		if err != nil {
			return err
		}
		return p.runServer(cmd.Context(), loaded.Config)
	}
	return cmd
}

// runServer runs the server until ctx ends. A second signal does not wait for the stop that the first began: the error then
// says what was left, and the program ends.
func (p *program) runServer(ctx context.Context, cfg config.Config) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	running := make(chan app.Running, 1)
	done := make(chan error, 1)
	go func() {
		done <- app.Run(ctx, cfg, app.Options{Log: p.err, Started: func(r app.Running) {
			running <- r
			if cfg.Dev {
				_, _ = fmt.Fprint(p.out, banner(r))
			}
		}})
	}()
	for seen := 0; seen < 2; {
		select {
		case err := <-done:
			return err
		case <-signals: // the first one ends ctx too
			seen++
		}
	}
	select {
	case r := <-running:
		return fmt.Errorf("stopped at once by a second signal; connections that were left and cut off: %d", r.Connections())
	default:
		return errors.New("stopped at once by a second signal, before everything had started")
	}
}
