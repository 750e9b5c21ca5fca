package bus

import (
	"context"
	"time"
)

// The verbs of a ValueCommand, which do what the Redis commands of these names do.
const (
	ValueGet    = "GET"
	ValueSet    = "SET"
	ValueDel    = "DEL"
	ValueIncr   = "INCR"
	ValueExpire = "EXPIRE"
	ValueTTL    = "TTL"
)

// ValueVerbs lists the verbs.
func ValueVerbs() []string {
	return []string{ValueGet, ValueSet, ValueDel, ValueIncr, ValueExpire, ValueTTL}
}

// ValueCommand is one command on the values of an owner.
type ValueCommand struct {
	// Owner is whose values they are; nobody else's are reached.
	Owner string
	// Verb is one of ValueVerbs.
	Verb string
	// Keys is one key, and for DEL one or more.
	Keys []string
	// Value is what SET writes.
	Value string
	// TTL is when the key ends, for SET and EXPIRE; 0 in a SET for never. An EXPIRE that is not positive deletes.
	TTL time.Duration
	// Limit is how many keys the owner may have, and Keep how long all of them are kept after the last change.
	Limit int
	Keep  time.Duration
}

// ValueResult is the answer to a ValueCommand.
type ValueResult struct {
	// Text is the answer of GET.
	Text string
	// Number is the answer of DEL, INCR, EXPIRE and TTL, which is in seconds, -1 for never and -2 for no such key.
	Number int64
	// Missing says that GET found no such key.
	Missing bool
}

// Values keeps small values in spaces of their owners.
type Values interface {
	// Command carries out one command in one step. It returns ErrValueLimit when a new key would be one too many,
	// and ErrValueNotNumber when INCR finds what is not a number of 64 bits, or would leave their range.
	Command(ctx context.Context, c ValueCommand) (ValueResult, error)
}

// ValueOwner returns whose values the identity reaches by commands: its session's, or its client's when it has none.
func (id *Identity) ValueOwner() string {
	if id.Session != "" {
		return string(KindSessions) + "/" + id.Session
	}
	return string(KindClients) + "/" + id.Client
}
