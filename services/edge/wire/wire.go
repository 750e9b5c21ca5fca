// Package wire is WebSocket connections as sockets: frames, what waits to be written, and who reads. It knows no session:
// what comes from a client, and what happens to a connection, is told to a Handler.
package wire

import (
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Config tunes connections. Every field is required.
type Config struct {
	// QueueBytes is how much may wait for a client that reads slowly.
	QueueBytes int
	// CrowdBytes is how much may wait for all clients together whose connections have a queue of their own.
	CrowdBytes int64
	// WriteTimeout is how long a client may take no byte at all.
	WriteTimeout time.Duration
	// CloseTimeout is how long a client that does not read may take for the frame that it has a part of and the last ones.
	CloseTimeout time.Duration
	// CloseWait is how long a client that reads has to answer a close frame.
	CloseWait time.Duration
	// FramesPerSecond is how many pings, pongs and fragments of less than 256 bytes a client may send.
	FramesPerSecond int32
	// Go runs a goroutine that writes, for as long as something waits. The owner waits for all of them.
	Go func(func())
}

// Sockets makes connections and reads what comes on them while Run runs. Its methods may be used concurrently.
type Sockets struct {
	cfg      Config
	upgrader websocket.Upgrader
	readers  *readers
	crowd    crowd
}

// New returns sockets without connections.
func New(cfg Config) *Sockets {
	return &Sockets{
		cfg:   cfg,
		crowd: crowd{limit: cfg.CrowdBytes, loads: make(map[*load]bool)},
		upgrader: websocket.Upgrader{
			HandshakeTimeout: 5 * time.Second,
			// Small: an idle connection keeps its read buffer. Frames are read through it into pooled buffers.
			ReadBufferSize:  256,
			WriteBufferSize: 256,
			WriteBufferPool: &sync.Pool{},
			CheckOrigin:     func(*http.Request) bool { return true }, // the owner has checked it
		},
		readers: newReaders(),
	}
}

// Run reads what comes on silent connections until Close is called.
func (s *Sockets) Run() error { return s.readers.run() }

// Close ends Run and all who read. There must be no connections any more.
func (s *Sockets) Close() { s.readers.close() }

// Waiting is how many bytes wait for all connections that have a queue of their own.
func (s *Sockets) Waiting() int64 { return s.crowd.waiting.Load() }

// SentAway is how many of them were sent away because too much waited for all of them.
func (s *Sockets) SentAway() int64 { return s.crowd.sent.Load() }
