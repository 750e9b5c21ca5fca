// Package tail follows addresses for one process. Each address has one upstream subscription, however many subscribers it has
// here, and a sequence that is in order and without holes. A push from the store is a hint that carries the data. After a jump in
// the offsets, an interruption of the feed or a position that lags behind the log, Tail heals the address. It reads the log
// before it hands on the next message of the address. What cannot be healed is told as a gap.
package tail

import (
	"log/slog"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// Store is what a Tail reads from.
type Store interface {
	bus.Feeds
	bus.Log
}

// Config tunes a Tail. The zero value means the defaults.
type Config struct {
	// Namespaces says which addresses keep a log.
	Namespaces bus.Namespaces
	// CheckInterval is how often a part of the quiet durable addresses is compared with the log; 1 s by default. It is the net
	// below the net: whatever a feed can lose it tells by Interrupted.
	CheckInterval time.Duration
	// CheckParts is how many parts there are; 1000 by default.
	CheckParts int
	// HealPage is how many messages one read of the log asks for; 256 by default.
	HealPage int
	// HoldBytes and HoldTotal are how much is held while addresses heal, for one address and for all of them. By default that is
	// 1 MiB and 64 MiB. What is beyond is read from the log instead.
	HoldBytes, HoldTotal int64
	// Logger hears of heals that take more than one try; discarded by default.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.CheckInterval <= 0 {
		c.CheckInterval = time.Second
	}
	if c.CheckParts <= 0 {
		c.CheckParts = 1000
	}
	if c.HealPage <= 0 {
		c.HealPage = 256
	}
	if c.HoldBytes <= 0 {
		c.HoldBytes = 1 << 20
	}
	if c.HoldTotal <= 0 {
		c.HoldTotal = 64 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Tail follows addresses. All methods may be called concurrently; Acquire returns only while Run runs.
type Tail struct {
	feed   bus.Feed
	log    bus.Log
	cfg    Config
	common common

	mu       sync.RWMutex
	followed map[bus.Address]*followed
	ring     []*followed // the durable ones, for the slow round
	at       int         // where the slow round is

	lanes lanes
	reads reads
	looks reads // those of Recovers, which need no more than a message
}

// New returns a Tail that hands everything to sink.
func New(store Store, sink Sink, cfg Config) *Tail {
	cfg = cfg.withDefaults()
	t := &Tail{
		feed: store.NewFeed(), log: store, cfg: cfg, followed: make(map[bus.Address]*followed), lanes: newLanes(),
		common: common{
			sink: sink, hold: budget{each: cfg.HoldBytes, total: cfg.HoldTotal}, healing: healing{since: make(map[*followed]time.Time)},
		},
	}
	t.reads, t.looks = newReads(t.readReplay), newReads(t.readPage)
	return t
}

// Retention says what a subscriber of the address can read on from.
func (t *Tail) Retention(a bus.Address) bus.Retention { return t.cfg.Namespaces.Log(a) }
