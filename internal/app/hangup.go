package app

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
)

// hangups reads the key sets of trusted issuers again at each SIGHUP, until ctx ends.
func (h *process) hangups(ctx context.Context) error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	defer signal.Stop(c)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c:
			resp, err := h.auth.RefreshKeySets(ctx, &authv1.RefreshKeySetsRequest{})
			if err != nil {
				h.tel.Log.Warn("cannot read every key set again", slog.String("error", err.Error()))
			}
			h.tel.Log.Info("read key sets again", slog.Any("issuers", resp.GetIssuers()))
		}
	}
}
