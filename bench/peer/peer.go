// Package peer starts what is compared, each as fresh processes, and speaks to it: how clients join, how a back end publishes.
package peer

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"

	"github.com/trunkline/trunkline/bench/load"
)

// ErrUnsupported is returned by what a peer has not.
var ErrUnsupported = errors.New("not supported by this peer")

// Kind is what a message is addressed to.
type Kind int

// Kinds of destinations.
const (
	Live   Kind = iota // a channel that keeps nothing
	Kept               // a channel with history
	Client             // one client, by number
	Listed             // a channel that keeps nothing, but lists its members
)

// Feature is what a scenario may need of a peer.
type Feature string

// Features.
const (
	Unary     Feature = "unary" // unicast with an answer or at least a complete send
	Batch     Feature = "batch"
	Stream    Feature = "stream"
	Recover   Feature = "recover"
	Acks      Feature = "acks"
	Connect   Feature = "connect" // connecting means joining with a token
	Fanout    Feature = "fanout"
	Generator Feature = "generator" // the load itself
	Mixed     Feature = "mixed"
	Nobody    Feature = "nobody"  // publishing to channels without subscribers, live and kept
	Rooms     Feature = "rooms"   // many channels with a few subscribers each
	Quiet     Feature = "quiet"   // many quiet channels with history
	Listing   Feature = "listing" // many quiet channels that list their members
)

// Position is where a log stands.
type Position struct {
	Epoch  string
	Offset uint64
}

// Message is one publication.
type Message struct {
	To   string
	Data []byte
	Ack  bool // the recipient must acknowledge it; it waits until then
}

// Publisher publishes over a connection of its own. It is for one goroutine.
type Publisher interface {
	// Publish returns when the peer has answered, where it answers.
	Publish(ctx context.Context, m Message) error
	// Batch publishes all in one call.
	Batch(ctx context.Context, all []Message) error
	// Stream opens a stream of publications.
	Stream(ctx context.Context) (Pipe, error)
	// Last is the position of the last message that Publish published.
	Last() Position
}

// Pipe is a stream of publications.
type Pipe interface {
	// Send waits while too many are unanswered.
	Send(m Message) error
	// Close returns when all are answered, or with the first refusal.
	Close() error
}

// Join is what a client subscribes to.
type Join struct {
	Channels []string
	Client   bool      // also what is sent to it alone
	After    *Position // resume the first channel from there
}

// System is a running peer.
type System interface {
	// Processes are the servers, its Redis too; their CPU is its cost. The first, and those of its name, hold the connections.
	Processes() []*Process
	// Tokens makes n tokens, one for each client; it is not measured.
	Tokens(ctx context.Context, n int) error
	// Addr is where clients connect.
	Addr() string
	// Script connects client i.
	Script(i int, join Join) load.Script
	// Address names a destination.
	Address(kind Kind, n int) string
	// Publisher opens the w-th publisher. It ends with the context, at once, so what is on its way may be lost then.
	Publisher(ctx context.Context, w int) (Publisher, error)
	Stop()
}

// Target can be started.
type Target struct {
	Name     string
	About    string // what it is, for the report
	Features []Feature
	Start    func(ctx context.Context, env Env) (System, error)
}

// Has tells if the target has a feature.
func (t Target) Has(f Feature) bool { return slices.Contains(t.Features, f) }

// Env is what all targets need.
type Env struct {
	Trunkline string // the binary
	SocketIO  string // folder with server.js and node_modules
	Quiet     bool
	Set       []string // settings of Trunkline, key=value
}

// All returns every target.
func All() []Target {
	return slices.Concat(trunklines(), deployments(), centrifuges(), natses(), socketios(), limits())
}

func freeAddr() (string, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// freeAddrs returns n different addresses.
func freeAddrs(n int) ([]string, error) {
	list := make([]string, n)
	for i := range list {
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		list[i] = l.Addr().String()
	}
	return list, nil
}

// self is this program, to be started as a server.
func self() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// Servers are what this program can be started as, by the first argument.
var Servers = map[string]func(args []string) error{
	"serve-centrifuge": ServeCentrifuge,
	"serve-nats":       ServeNATS,
	"serve-limit":      ServeLimit,
}
