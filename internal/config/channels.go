package config

import "github.com/trunkline/trunkline/internal/bus"

type meetingProtocol interface {
	Protocol
	Meeting
}

func (c *checking) channels() {
	for _, p := range spokenAs[meetingProtocol](c.cfg.Legacy) {
		if ns := c.cfg.Namespaces().Named[p.Namespace()]; !ns.Presence || ns.Explicit {
			c.fail("channels.namespaces", "%s: the %s protocol needs presence: true and explicit: false there", p.Namespace(), p.Name())
		}
	}
	if err := c.cfg.Namespaces().Validate(); err != nil {
		c.fail("channels.namespaces", "%v", err)
	}
}

// Namespaces returns what is configured for channels.
func (c Config) Namespaces() bus.Namespaces {
	d := c.Channels.Defaults
	named := make(map[string]bus.Namespace, len(c.Channels.Namespaces))
	for name, rule := range c.Channels.Namespaces {
		ch := d
		override(&ch.HistoryLength, rule.HistoryLength)
		override(&ch.HistoryAge, rule.HistoryAge)
		override(&ch.Retain, rule.Retain)
		override(&ch.Addresses, rule.Addresses)
		override(&ch.Kept, rule.Kept)
		override(&ch.Presence, rule.Presence)
		override(&ch.Explicit, rule.Explicit)
		override(&ch.Overload, rule.Overload)
		override(&ch.ConflateKey, rule.ConflateKey)
		override(&ch.Durability, rule.Durability)
		override(&ch.Replicas, rule.Replicas)
		named[name] = ch.namespace()
	}
	var clients bus.Namespace
	for _, p := range spokenAs[meetingProtocol](c.Legacy) {
		ns, ok := named[p.Namespace()]
		if !ok {
			ns.Presence = true
		}
		if p, ok := p.(Sizing); ok {
			size := int(p.MaxMessage())
			ns.MaxMessage, clients.MaxMessage = size, size // what meets there writes to single clients as well
		}
		named[p.Namespace()] = ns
	}
	return bus.Namespaces{
		Default: d.namespace(), Named: named,
		Inbox:  bus.Inbox{Limit: c.Inbox.Limit, Keep: c.Inbox.Keep, AckTimeout: c.Inbox.AckTimeout},
		Events: c.EventLog(), EventsPerHour: c.Hooks.Events.Length * c.Hooks.Events.Share / 100, Facilities: c.Legacy.facilities(), MembersInEvents: c.Presence.MaxMembersInEvents, Clients: clients,
	}
}

func override[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

var durabilities = map[string]bus.Durability{"accepted": bus.Accepted, "replicated": bus.Replicated, "fsynced": bus.Fsynced}

func (c Channel) namespace() bus.Namespace {
	return bus.Namespace{
		Retention: bus.Retention{Length: c.HistoryLength, Age: c.HistoryAge},
		Retain:    c.Retain, AddressesPerHour: c.Addresses, Addresses: c.Kept,
		Presence: c.Presence, Explicit: c.Explicit, Overload: bus.Overload(c.Overload), ConflateKey: c.ConflateKey,
		Durability: durabilities[c.Durability], Replicas: c.Replicas,
	}
}
