package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

func (p *program) health() *cobra.Command {
	var internal string
	cmd := &cobra.Command{
		Use: "health [live|ready]", Short: "Ask a process on this machine how it is; exit 0 or 1", Args: cobra.MaximumNArgs(1), ValidArgs: []string{"live", "ready"},
		Long: "Ask the internal listener of a process on this machine how it is: ready (the default) or live. Exit code 0 for yes and 1 for no, for container health checks.",
		RunE: func(cmd *cobra.Command, args []string) error {
			what := "ready"
			if len(args) == 1 {
				what = args[0]
			}
			if what != "live" && what != "ready" {
				return usageError{fmt.Errorf("%q: allowed are live and ready", what)}
			}
			for _, name := range []string{"TRUNKLINE_INTERNAL", "TRUNKLINE_INTERNAL_LISTEN"} {
				if internal == "" {
					internal = p.getenv(name)
				}
			}
			return p.askHealth(cmd.Context(), what, internal)
		},
	}
	cmd.Flags().StringVar(&internal, "internal", "", "host:port of the internal listener (TRUNKLINE_INTERNAL, TRUNKLINE_INTERNAL_LISTEN; 127.0.0.1:9091)")
	return cmd
}

// healthAnswer is what -o json prints.
type healthAnswer struct {
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

func (p *program) askHealth(ctx context.Context, what, internal string) error {
	answer := healthAnswer{}
	if internal == "" {
		internal = "127.0.0.1:9091"
	}
	if host, port, err := net.SplitHostPort(internal); err == nil && (host == "" || host == "0.0.0.0" || host == "::") {
		internal = net.JoinHostPort("127.0.0.1", port)
	}
	if host, port, err := net.SplitHostPort(internal); err != nil || strings.ContainsAny(host, "/@?# ") || !isPort(port, false) {
		return usageError{fmt.Errorf("--internal %q is not host:port", shown(internal))}
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+internal+"/"+what+"z?verbose", nil)
	if err != nil {
		return usageError{err}
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		answer.Detail = "nobody answers at " + internal
	} else {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		_ = resp.Body.Close()
		answer.OK, answer.Detail = resp.StatusCode == http.StatusOK, strings.TrimSpace(string(body))
	}
	if p.output == "table" {
		_, err = fmt.Fprintln(p.out, answer.Detail)
	} else {
		err = p.writeJSON(answer)
	}
	if err == nil && !answer.OK {
		return silent(exitFailed)
	}
	return err
}
