package bus

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// Retention says how an address is kept. The zero Retention is live: nothing is kept.
type Retention struct {
	// Length is how many messages are kept; 0 for none.
	Length int
	// Age is how long they are kept.
	Age time.Duration
	// Inbox is set for an address whose log is its inbox: what is not there any more was acknowledged.
	Inbox bool
}

// Durable says whether anything is kept.
func (r Retention) Durable() bool { return r.Length > 0 }

// Overload says what a client gets that reads more slowly than it is sent to.
type Overload string

// The policies. What is missing is announced by a gap.
const (
	// CatchUp reads what it was not given from the log, at its own pace.
	CatchUp Overload = "catch_up"
	// Disconnect closes the connection with a code that says resume.
	Disconnect Overload = "disconnect"
	// DropOldest keeps the newest messages.
	DropOldest Overload = "drop_oldest"
	// Conflate keeps the newest message of each value of an attribute.
	Conflate Overload = "conflate"
)

// Namespace is what is configured for the channels of one namespace.
type Namespace struct {
	// Durability is the least that counts as OK, and Replicas says how many with Replicated; Live for
	// what the retention gives.
	Durability Durability
	Replicas   int
	// Overload is for clients that are too slow; empty for CatchUp where there is a log, and DropOldest elsewhere.
	Overload Overload
	// ConflateKey is the attribute that Conflate goes by.
	ConflateKey string
	Retention   Retention
	// Explicit refuses channels that were not created with CreateChannel.
	Explicit bool
	// AddressesPerHour is how many new addresses each process lets the namespace get, from everybody together; 0 for no limit.
	AddressesPerHour int
	// Addresses is about how many addresses may be kept; 0 for no limit.
	Addresses int
	// Presence lists the subscribers of the channels.
	Presence bool
	// Retain is how long the last message of each address is kept for those who ask for it; 0 for not at all.
	Retain time.Duration
	// MaxMessage is the largest payload, in bytes; 0 for that of everybody.
	MaxMessage int
}

// Space is the channels that one limit of addresses is for: those of a configured namespace, or of all that are not configured.
type Space struct {
	// Name is the namespace; empty for all but Others.
	Name   string
	Others []string
	// Age is how long logs are kept there.
	Age time.Duration
}

// Census counts the addresses that a store keeps.
type Census interface {
	// Count notes addresses of the space that were written to, and returns about how many are kept there now. Callers note an address
	// again each day that it is used. What is noted twice counts once.
	Count(ctx context.Context, in Space, used []Address) (int, error)
	// Keeps says whether anything of an address is kept.
	Keeps(ctx context.Context, a Address) (bool, error)
}

// MaxReplicas is how many replicas a publish may wait for.
const MaxReplicas = 5

// Policy returns what a client gets that is too slow.
func (n Namespace) Policy() Overload {
	switch {
	case n.Overload != "":
		return n.Overload
	case n.Retention.Durable():
		return CatchUp
	}
	return DropOldest
}

// Namespaces is the configuration of all channels. It is immutable and may be read concurrently.
type Namespaces struct {
	// Default is for channels whose namespace is not named.
	Default Namespace
	// Named is by the part of a channel's name before the first colon.
	Named map[string]Namespace
	// Inbox is how many messages may wait for an ack in one inbox, and for how long; DefaultInbox where that is not set.
	Inbox Inbox
	// Events is how the log of events is kept; nothing is told while it is zero.
	Events Retention
	// EventsPerHour is how many events of the log each process tells of one user in an hour; 0 for no limit.
	EventsPerHour int
	// MembersInEvents is up to how many clients presence events list who came and went; MaxMembersInEvents where that is not set.
	MembersInEvents int
	// Facilities is for the topics of broadcast, users, groups and sessions. Only its Retain and MaxMessage count.
	Facilities Namespace
	// Clients is for the addresses of single clients. Only its MaxMessage counts.
	Clients Namespace
}

// Inbox is the configuration of all inboxes.
type Inbox struct {
	Limit int
	Keep  time.Duration
	// AckTimeout is how long an ack may take before a message counts as stored.
	AckTimeout time.Duration
}

// DefaultInbox returns the defaults of inboxes.
func DefaultInbox() Inbox {
	return Inbox{Limit: 10_000, Keep: 7 * 24 * time.Hour, AckTimeout: 30 * time.Second}
}

// WithDefaults returns the configuration with what is not set filled in.
func (i Inbox) WithDefaults() Inbox {
	d := DefaultInbox()
	return Inbox{Limit: cmp.Or(i.Limit, d.Limit), Keep: cmp.Or(i.Keep, d.Keep), AckTimeout: cmp.Or(i.AckTimeout, d.AckTimeout)}
}

// MostReplicas returns how many replicas the namespaces ask for at most.
func (n Namespaces) MostReplicas() int {
	most := 0
	for _, ns := range n.Named {
		most = max(most, ns.needs())
	}
	return max(most, n.Default.needs())
}

func (n Namespace) needs() int {
	if n.Durability != Replicated {
		return 0
	}
	return max(n.Replicas, 1)
}

// AnyFsynced says whether a namespace asks for messages on a disk.
func (n Namespaces) AnyFsynced() bool {
	for _, ns := range n.Named {
		if ns.Durability == Fsynced {
			return true
		}
	}
	return n.Default.Durability == Fsynced
}

// Log returns what a subscriber of the address can read on from. That is the retention of a channel, the inbox of a client, a
// user or a session, or the log of events or of revocations.
func (n Namespaces) Log(a Address) Retention {
	switch a {
	case EventLog:
		return n.Events
	case Revoked:
		return RevocationLog
	}
	if a.HasInbox() {
		in := n.Inbox.WithDefaults()
		return Retention{Length: in.Limit, Age: in.Keep, Inbox: true}
	}
	return n.For(a).Retention
}

// DefaultNamespace keeps 100 messages for 10 minutes and lists subscribers.
func DefaultNamespace() Namespace {
	return Namespace{Retention: Retention{Length: 100, Age: 10 * time.Minute}, Presence: true, AddressesPerHour: 5_000_000, Addresses: 20_000_000}
}

// For returns what is configured for the address. Addresses that are no channels are live.
func (n Namespaces) For(a Address) Namespace {
	switch a.Kind() {
	case KindChannels:
	case KindBroadcast, KindUsers, KindGroups, KindSessions:
		if a.Topic() == "" {
			return Namespace{}
		}
		return Namespace{Retain: n.Facilities.Retain, MaxMessage: n.Facilities.MaxMessage}
	case KindClients:
		return Namespace{MaxMessage: n.Clients.MaxMessage}
	default:
		return Namespace{}
	}
	if ns, ok := n.Named[a.Namespace()]; ok {
		return ns
	}
	return n.Default
}

// Validate says what is wrong with the configuration.
func (n Namespaces) Validate() error {
	check := func(name string, ns Namespace) error {
		r := ns.Retention
		if r.Length < 0 || r.Length > 1_000_000 {
			return fmt.Errorf("namespace %q: history length %d, allowed are 0 to 1000000", name, r.Length)
		}
		if ns.Durability > Live && !r.Durable() {
			return fmt.Errorf("namespace %q: a durability needs a history", name)
		}
		if ns.Replicas < 0 || ns.Replicas > MaxReplicas {
			return fmt.Errorf("namespace %q: replicas %d, allowed are 0 to %d", name, ns.Replicas, MaxReplicas)
		}
		if ns.Overload == CatchUp && !r.Durable() {
			return fmt.Errorf("namespace %q: overload catch_up needs a history to catch up from", name)
		}
		if ns.Retain < 0 || ns.Retain > MaxRetain || ns.Retain > 0 && ns.Retain < time.Second {
			return fmt.Errorf("namespace %q: retain %s, allowed are 0 and 1s to 720h", name, ns.Retain)
		}
		if (ns.Overload == Conflate) != (ns.ConflateKey != "") {
			return fmt.Errorf("namespace %q: overload conflate and conflate_key go together", name)
		}
		if r.Length > 0 && (r.Age < time.Second || r.Age > 365*24*time.Hour) {
			return fmt.Errorf("namespace %q: history age %s, allowed are 1s to 8760h", name, r.Age)
		}
		return nil
	}
	for name, ns := range n.Named {
		if err := CheckName("namespace", name); err != nil {
			return err
		}
		if err := check(name, ns); err != nil {
			return err
		}
	}
	if err := check("events", Namespace{Retention: n.Events}); err != nil {
		return err
	}
	return check("default", n.Default)
}
