package app

import (
	"cmp"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/hooks"
	"github.com/trunkline/trunkline/services/events"
)

// buildEvents builds the service that sends events.
func (h *process) buildEvents() error {
	cfg := events.Config{Namespaces: h.cfg.Namespaces(), Node: h.cfg.Node, Log: h.tel.Log}
	for _, w := range h.cfg.Hooks.Webhooks {
		hook := events.Webhook{
			Name: w.Name, URL: w.URL, AllowPrivate: w.AllowPrivate,
			Timeout: cmp.Or(w.Timeout, 10*time.Second), GiveUpAfter: cmp.Or(w.GiveUpAfter, 24*time.Hour),
			GiveUpTries: w.GiveUpTries, Batch: w.Batch,
		}
		for _, s := range w.Secrets {
			secret, err := hooks.ParseSecret(s.Reveal())
			if err != nil {
				return fmt.Errorf("hooks.webhooks: %s: secrets: %w", w.Name, err)
			}
			hook.Secrets = append(hook.Secrets, secret)
		}
		for _, k := range w.Kinds {
			hook.Kinds = append(hook.Kinds, bus.EventKind(k))
		}
		cfg.Webhooks = append(cfg.Webhooks, hook)
	}
	var err error
	if h.events, err = events.New(h.store, cfg, h.tel.Registry); err != nil {
		return fmt.Errorf("build the event service: %w", err)
	}
	h.events.Register(h.server)
	return nil
}
