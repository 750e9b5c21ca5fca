package judge

import "time"

// Bound is a time that is promised.
type Bound struct {
	Name string
	Most time.Duration
	// Says is how the table of times in docs/guarantees.md begins the row with this bound; empty when it has none.
	Says string
}

// The bounds that whoever drives a system holds it to. The documents have the same.
var (
	FailoverPublish  = Bound{"failover, publish", 5 * time.Second, "Sentinel, `down-after` 1 s, master killed: publishing works again"}
	FailoverDelivery = Bound{"failover, delivery", 6 * time.Second, "… delivery works again, without a reconnect"}
	TokenEnd         = Bound{"token end", time.Second, "… and the connection is closed"}
	Revocation       = Bound{"revocation", time.Second, "a revocation closes connections on all edges, and gRPC and REST streams"}
	RevocationMissed = Bound{"revocation missed", 5 * time.Second, "a revocation that a cut-off edge missed"}
	PresenceLeave    = Bound{"presence, leave", time.Second, "presence: a clean leave, over WebSocket, gRPC and REST"}
	PresenceCrash    = Bound{"presence, crash", 30 * time.Second, "… a crashed edge"}
	ReadyRed         = Bound{"readiness turns red", 5 * time.Second, "readiness is red when messages do not come through"}
	ReadyGreen       = Bound{"readiness turns green", 5 * time.Second, "… and green again"}
	ClusterPublish   = Bound{"cluster, publish", 8 * time.Second, "Cluster, `cluster-node-timeout` 2 s, a master killed: publishing to its slots works again"}
	EdgeCaughtUp     = Bound{"edge lost, caught up", 10 * time.Second, "an edge is killed: its clients are on another one and caught up"}
	CutCaughtUp      = Bound{"cut healed, caught up", 3 * time.Second, "an edge was cut off from Redis: caught up, after the cut heals"}
	Drained          = Bound{"drained", 30 * time.Second, "SIGTERM: the process has ended, with exit code 0"}
	AuthBack         = Bound{"auth back", 2 * time.Second, "the auth service is back: edges let clients in again"}
)

// Bounds returns all of them.
func Bounds() []Bound {
	return []Bound{
		FailoverPublish, FailoverDelivery, TokenEnd, Revocation, RevocationMissed, PresenceLeave, PresenceCrash, ReadyRed, ReadyGreen,
		ClusterPublish, EdgeCaughtUp, CutCaughtUp, Drained, AuthBack,
	}
}
