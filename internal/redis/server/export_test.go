package server

import "time"

// Known is what is known of a master, and of the life before.
type Known struct {
	Before          string // the life that it went on from; empty when it was the master from its start
	Started         time.Time
	Appends, Always bool
	Replicas        int  // that the old life was seen to have
	Lax             bool // the old life was seen not to sync
}

// Keeps says whether everything that was acknowledged in the life "old" is there, where the newest entry is of last.
func (k Known) Keeps(last time.Time, least Least) bool {
	l := Life{ID: "new", before: k.Before, started: k.Started, appends: k.Appends, always: k.Always}
	return l.Keeps("old", last, least, Witness{replicas: k.Replicas, lax: k.Lax})
}

// HasWaitAOF says whether the server that an answer to INFO is of has WAITAOF.
var HasWaitAOF = hasWaitAOF
