package config

import (
	"fmt"
	"net/url"

	"github.com/trunkline/trunkline/internal/bus"
)

func (c *checking) hooks() {
	a := c.cfg.Hooks.Authorizer
	if a.Address != "" && a.Fail == "" {
		c.fail("hooks.authorizer.fail", "is not set; say closed (refuse) or open (allow) for when the authorizer does not answer")
	}
	if a.Address == "" && (a.Fail != "" || a.CAFile != "" || len(a.On) > 0) {
		c.fail("hooks.authorizer.address", "is not set, and other settings of the authorizer are")
	}
	c.webhooks()
	c.bridges()
}

// EventLog is how the log of events is kept; zero when it is not.
func (c Config) EventLog() bus.Retention {
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
