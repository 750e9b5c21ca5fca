package server

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// Lives remembers what masters have said of their lives. The zero value is ready to use, by many goroutines at once.
type Lives struct {
	mu    sync.Mutex      // held while a master is asked
	known map[string]Life // by address

	mute atomic.Bool // servers may not be asked for their settings

	eyes sync.Mutex          // never held for long: subscription connections take it
	seen map[string]*Witness // by life
}

// Witness is what this process saw of a life.
type Witness struct {
	replicas int  // the most that the master had at once
	lax      bool // it was seen not to sync before it answers
}

// maxWitnesses is how many lives are remembered.
const maxWitnesses = 256

// Saw notes how many replicas a master has in a life.
func (l *Lives) Saw(id string, replicas int) {
	l.witness(id, func(w *Witness) { w.replicas = max(w.replicas, replicas) })
}

func (l *Lives) witness(id string, note func(*Witness)) {
	if id == "" {
		return
	}
	l.eyes.Lock()
	defer l.eyes.Unlock()
	w := l.seen[id]
	if w == nil {
		if l.seen == nil || len(l.seen) >= maxWitnesses { // what is forgotten proves nothing any more
			l.seen = map[string]*Witness{}
		}
		w = &Witness{}
		l.seen[id] = w
	}
	note(w)
}

// SeenOf returns what was seen of a life.
func (l *Lives) SeenOf(id string) Witness {
	l.eyes.Lock()
	defer l.eyes.Unlock()
	if w := l.seen[id]; w != nil {
		return *w
	}
	return Witness{}
}

// Watch notes whether a master syncs before it answers, and how many replicas it has. info is its answer to INFO about replication
// and persistence.
func (l *Lives) Watch(ctx context.Context, c *redis.Client, info string) {
	if Field(info, "role") != "master" {
		return
	}
	lax := Field(info, "aof_enabled") != "1"
	if !lax && !l.mute.Load() {
		conf, err := c.ConfigGet(ctx, "appendfsync").Result()
		lax = err == nil && conf["appendfsync"] != "always"
		l.mute.Store(Forbidden(err)) // it is not asked again then, and proves nothing
	}
	n, _ := strconv.Atoi(Field(info, "connected_slaves"))
	// Both only grow: what was acknowledged in a lax moment stays in doubt when the setting is right again.
	l.witness(Field(info, "master_replid"), func(w *Witness) { w.replicas, w.lax = max(w.replicas, n), w.lax || lax })
}

// Of returns the life of a master, which is now the one with that id. An answer about another life is returned as it is: the
// caller compares.
func (l *Lives) Of(ctx context.Context, c *redis.Client, now string) (Life, error) {
	addr := c.Options().Addr
	l.mu.Lock()
	defer l.mu.Unlock() // whoever asks about the same moment waits for one answer
	if known, ok := l.known[addr]; ok && known.ID == now {
		return known, nil
	}
	found, err := LifeOf(ctx, c)
	if err != nil {
		return Life{}, err
	}
	if l.known == nil {
		l.known = map[string]Life{}
	}
	l.known[addr] = found
	return found, nil
}
