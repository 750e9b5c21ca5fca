package server

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// Life is what is known of a server's present life: the time between two changes of its replication id. The id changes at every
// restart and at every promotion.
type Life struct {
	// ID is its replication id.
	ID string
	// before is the life that it went on from when it became the master; empty when it was the master from its start.
	before string
	// started is when the process started at the earliest, by its own clock, and begun when it had certainly started.
	started, begun time.Time
	// always says that it answers after it has written to its disk, and appends that it writes everything there at all. A server
	// that does not append has at best read a snapshot at its start.
	always, appends bool
}

// Least is a durability, with the number of replicas where it is Replicated.
type Least struct {
	Durability bus.Durability
	Replicas   int
}

const (
	// noLife is what Redis says for no replication id.
	noLife = "0000000000000000000000000000000000000000"
	// startSlack is how far the start of a process may be off: it is told in whole seconds.
	startSlack = 2 * time.Second
)

// LifeOf asks a master about its life.
func LifeOf(ctx context.Context, c *redis.Client) (Life, error) {
	info, err := c.Info(ctx).Result()
	if err != nil {
		return Life{}, err
	}
	now, err := c.Time(ctx).Result()
	if err != nil {
		return Life{}, err
	}
	uptime, err := strconv.Atoi(Field(info, "uptime_in_seconds"))
	if err != nil {
		return Life{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	l := Life{ID: Field(info, "master_replid"), before: Field(info, "master_replid2")}
	// The uptime is the difference of two times in whole seconds, so it is off by up to one either way.
	at := now.Add(-time.Duration(uptime) * time.Second)
	// It answers, so it began by now at the latest.
	if l.started, l.begun = at.Add(-time.Second), at.Add(time.Second); l.begun.After(now) {
		l.begun = now
	}
	if l.before == noLife {
		l.before = ""
	}
	if Field(info, "aof_enabled") == "1" {
		l.appends = true
		conf, err := c.ConfigGet(ctx, "appendfsync").Result()
		// A server that does not say is taken for one that may lose its end.
		l.always = err == nil && conf["appendfsync"] == "always"
	}
	return l, nil
}

// Keeps says whether everything that was acknowledged in an old life is there in this one. The argument last is when the newest
// entry that is there was written, and least how durable everything acknowledged was. The argument seen is what this process saw
// of the old life.
func (l Life) Keeps(old string, last time.Time, least Least, seen Witness) bool {
	switch l.before {
	case old:
		// It became the master. It was a replica while its newest entry was written, which says nothing of what came after that.
		// It certainly has that too where as many replicas had to have everything as there ever were.
		all := seen.replicas > 0 && least.Replicas >= seen.replicas
		return least.Durability == bus.Replicated && all && last.After(l.started.Add(startSlack))
	case "": // it has read its own file
		// Without a sync before each answer the file may end earlier than what was acknowledged.
		return l.appends && (l.always && !seen.lax || least.Durability == bus.Fsynced)
	}
	return false
}

// Snapshot says whether what is there is at best a snapshot from before this life, and since when the life certainly lasts. Much
// may be missing then, not just an end.
func (l Life) Snapshot() (since time.Time, only bool) { return l.begun, l.before == "" && !l.appends }
