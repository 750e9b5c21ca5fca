package events

import (
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/hooks"
)

// Webhook is one receiver of events.
type Webhook struct {
	// Name is what its place in the log is kept under, and a label of its metrics. Required.
	Name string
	// URL is where requests go. Required.
	URL string
	// Secrets sign the requests, each on its own; one at the least.
	Secrets []hooks.Secret
	// Kinds are the events that are sent; all when empty. Gaps are sent in any case.
	Kinds []bus.EventKind
	// AllowPrivate lets requests go to addresses of private networks and of this host, and without TLS.
	AllowPrivate bool
	// Timeout is for one request; 10 s by default. GiveUpAfter is how old an event may be that is tried again; 24 h by default.
	Timeout, GiveUpAfter time.Duration
	// GiveUpTries is how often an event may be refused before it is given up; 12 by default. No answer, and one that says later,
	// is no refusal.
	GiveUpTries int
	// Batch is how many events one request may have; 1 by default, and then the event is the body.
	Batch int
}
