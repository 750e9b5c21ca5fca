package app

import (
	"cmp"
	"fmt"
	"net/url"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/events"
)

// events is how the log of events is kept; zero when it is not.
func (c Config) events() bus.Retention {
	if !c.Hooks.Events.Enabled {
		return bus.Retention{}
	}
	return bus.Retention{Length: c.Hooks.Events.Length, Age: c.Hooks.Events.Age}
}

func (c *checking) webhooks() {
	hooks := c.cfg.Hooks
	if len(hooks.Webhooks) > 0 && !hooks.Events.Enabled {
		c.fail("hooks.events.enabled", "is not set, and hooks.webhooks are: there is nothing to send without it")
	}
	names := map[string]bool{}
	for i, w := range hooks.Webhooks {
		key := fmt.Sprintf("hooks.webhooks[%d]", i)
		if w.Name == "" || names[w.Name] {
			c.fail("hooks.webhooks", "%s: name %q is empty or taken", key, w.Name)
		}
		names[w.Name] = true
		if len(w.Secrets) == 0 {
			c.fail("hooks.webhooks", "%s: secrets is empty; every request is signed (try: echo whsec_$(openssl rand -base64 32))", key)
		}
		u, err := url.Parse(w.URL)
		switch {
		case err != nil || w.URL == "":
			c.fail("hooks.webhooks", "%s: url is empty", key)
		case u.Scheme != "https" && !w.AllowPrivate:
			c.fail("hooks.webhooks", "%s: url is not https, which only a private network is for: set allow_private", key)
		}
	}
}

// buildEvents builds the service that sends events.
func (h *house) buildEvents() error {
	cfg := events.Config{Namespaces: h.cfg.namespaces(), Node: h.cfg.Node, Log: h.tel.Log}
	for _, w := range h.cfg.Hooks.Webhooks {
		hook := events.Webhook{
			Name: w.Name, URL: w.URL, AllowPrivate: w.AllowPrivate,
			Timeout: cmp.Or(w.Timeout, 10*time.Second), GiveUpAfter: cmp.Or(w.GiveUpAfter, 24*time.Hour),
			GiveUpTries: w.GiveUpTries, Batch: w.Batch,
		}
		for _, s := range w.Secrets {
			secret, err := events.ParseSecret(s.Reveal())
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
