package config

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/trunkline/trunkline/internal/bridge"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/hooks"
	"github.com/trunkline/trunkline/internal/redis/redisurl"
)

// Bridge is one channel of Redis that is shared with other programs.
type Bridge struct {
	Channel   string `key:"channel"`
	To        string `key:"to"`
	Direction string `key:"direction" oneof:"in,both"`
	Format    string `key:"format" oneof:"raw,json"`
	Data      string `key:"data"`
	Sender    string `key:"sender"`
}

// rule makes the rule of a bridge.
func (b Bridge) rule() (*bridge.Bridge, error) {
	return bridge.New(bridge.Rule{
		Channel: b.Channel, To: b.To, Both: b.Direction == "both", JSON: b.Format == "json", Data: b.Data, Sender: b.Sender,
	})
}

type aliasingProtocol interface {
	Protocol
	Aliasing
}

// redis checks the settings of Redis against each other.
func (c *checking) redis() {
	r := c.cfg.Redis
	u, err := redisurl.Parse(r.URL.Reveal())
	if r.URL != "" && err != nil {
		return // said when it was read
	}
	for _, x := range []struct {
		key, value string
		applies    bool
		needs      string
	}{
		{"redis.sentinel_username", r.SentinelUsername, u.Shape == redisurl.Sentinel, "a URL that begins with redis+sentinel:// or rediss+sentinel://"},
		{"redis.sentinel_password", r.SentinelPassword.Reveal(), u.Shape == redisurl.Sentinel, "a URL that begins with redis+sentinel:// or rediss+sentinel://"},
		{"redis.ca_file", r.CAFile, u.TLS, "a URL that begins with rediss"},
		{"redis.cert_file", r.CertFile, u.TLS, "a URL that begins with rediss"},
		{"redis.key_file", r.KeyFile, u.TLS, "a URL that begins with rediss"},
	} {
		if x.value != "" && !x.applies {
			c.fail(x.key, "has no effect: it needs redis.url to be %s", x.needs)
			return
		}
	}
	if r.SentinelUsername != "" && r.SentinelPassword == "" {
		c.fail("redis.sentinel_username", "needs redis.sentinel_password")
	}
	c.pair("redis", TLS{CertFile: r.CertFile, KeyFile: r.KeyFile})
	if r.CAFile != "" {
		if _, err := LoadPool(r.CAFile); err != nil {
			c.fail("redis.ca_file", "%v", err)
		}
	}
}

func (c *checking) bridges() {
	r := c.cfg.Redis
	if len(r.Bridges) > 0 && r.URL == "" {
		c.fail("redis.bridges", "needs redis.url: the channels are those of Redis")
	}
	channels, addresses := map[string]bool{}, map[bus.Address]bool{}
	for _, b := range c.cfg.Legacy.bridges() {
		channels[b.Channel] = true
	}
	for i, b := range r.Bridges {
		key := fmt.Sprintf("redis.bridges[%d]", i)
		rule, err := b.rule()
		if err != nil {
			c.fail("redis.bridges", "%s: %v", key, err)
			continue
		}
		if strings.HasPrefix(b.Channel, r.Prefix) {
			c.fail("redis.bridges", "%s: channel %q begins with redis.prefix: it is our own", key, b.Channel)
		}
		if channels[b.Channel] {
			c.fail("redis.bridges", "%s: channel %q is bridged already", key, b.Channel)
		}
		channels[b.Channel] = true
		if !rule.Both() {
			continue
		}
		if addresses[rule.To()] {
			c.fail("redis.bridges", "%s: %s is bridged in both directions already", key, rule.To())
		}
		addresses[rule.To()] = true
		if u, err := redisurl.Parse(r.URL.Reveal()); err == nil && u.Shape == redisurl.Cluster {
			c.fail("redis.bridges", "%s: direction: both needs a single Redis or Sentinel, and redis.url is a Cluster", key)
		}
		for _, p := range spokenAs[aliasingProtocol](c.cfg.Legacy) {
			if p.Alias(rule.To()) != nil {
				c.fail("redis.bridges", "%s: %s has a name in Redis by the %s protocol already", key, rule.To(), p.Name())
			}
		}
	}
}

// BridgeRules are the channels that are read, those of the older protocols too.
func (c Config) BridgeRules() ([]bus.BridgeRule, error) {
	all := c.Legacy.bridges()
	for _, b := range c.Redis.Bridges {
		rule, err := b.rule()
		if err != nil {
			return nil, fmt.Errorf("redis.bridges: %w", err)
		}
		if !rule.Both() {
			all = append(all, bus.BridgeRule{Channel: rule.Channel(), Map: rule.Map})
		}
	}
	return all, nil
}

// Aliases returns the channels of Redis that addresses share with other programs, those of the older protocols too; nil for
// none.
func (c Config) Aliases() (bus.Aliases, error) {
	older := spokenAs[Aliasing](c.Legacy)
	bridged := map[bus.Address]*bridge.Bridge{}
	for _, b := range c.Redis.Bridges {
		rule, err := b.rule()
		if err != nil {
			return nil, fmt.Errorf("redis.bridges: %w", err)
		}
		if rule.Both() {
			bridged[rule.To()] = rule
		}
	}
	if len(bridged) == 0 && len(older) == 0 {
		return nil, nil
	}
	return func(a bus.Address) bus.Alias {
		if b := bridged[a]; b != nil {
			return b
		}
		for _, p := range older {
			if alias := p.Alias(a); alias != nil {
				return alias
			}
		}
		return nil
	}, nil
}

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
	cfg := c.cfg.Hooks
	if len(cfg.Webhooks) > 0 && !cfg.Events.Enabled {
		c.fail("hooks.events.enabled", "is not set, and hooks.webhooks are: there is nothing to send without it")
	}
	names := map[string]bool{}
	for i, w := range cfg.Webhooks {
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
		case !w.AllowPrivate:
			if err := hooks.CheckHost(u.Hostname()); err != nil {
				c.fail("hooks.webhooks", "%s: url: %v", key, err)
			}
		}
	}
}
