// Package beats keeps the streams of a server from being silent. Proxies and clients take a stream on which nothing comes for one that
// is dead. So each gets a heartbeat when nothing else was sent for a while, whatever its handler does.
package beats

import (
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// field is the name of the field that makes a message a heartbeat.
const field = "heartbeat"

// Beats are the heartbeats of a server. They may be used concurrently.
type Beats struct {
	every   time.Duration
	known   sync.Map // full method: proto.Message, nil for none
	running sync.WaitGroup
}

// New returns heartbeats that come when a stream was silent for the time.
func New(every time.Duration) *Beats { return &Beats{every: every} }

// Wait waits until no heartbeat is sent any more. All streams have ended before.
func (b *Beats) Wait() { b.running.Wait() }

// Of returns the heartbeat of a method: an answer whose field heartbeat is set. It is nil for a method that has none.
func Of(method string) proto.Message {
	name := strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil
	}
	desc, ok := found.(protoreflect.MethodDescriptor)
	if !ok || !desc.IsStreamingServer() {
		return nil
	}
	f := desc.Output().Fields().ByName(field)
	answer, err := protoregistry.GlobalTypes.FindMessageByName(desc.Output().FullName())
	if err != nil || f == nil || f.Message() == nil || f.IsList() || f.IsMap() {
		return nil
	}
	m := answer.New()
	m.Mutable(f)
	return m.Interface()
}

// Beat keeps one stream from being silent. Its methods may be called concurrently.
type Beat struct {
	beats *Beats
	send  func(any) error

	// sending is held while something is sent: a stream takes one message at a time.
	sending sync.Mutex
	last    time.Time // when something was sent; zero until the stream is open

	mu      sync.Mutex
	message proto.Message // what is sent; it is replaced and never changed
	timer   *time.Timer   // nil for a method without a heartbeat
	over    bool
}

// Begin begins the heartbeats of a stream of the method, whose messages send sends. End ends them. They do not come before the stream has
// sent something, because what comes first is said in the contract.
func (b *Beats) Begin(method string, send func(any) error) *Beat {
	known, ok := b.known.Load(method)
	if !ok { // as many as there are methods
		known, _ = b.known.LoadOrStore(method, Of(method))
	}
	s := &Beat{beats: b, send: send}
	if s.message, _ = known.(proto.Message); s.message != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		b.running.Add(1)
		s.timer = time.AfterFunc(b.every, s.tick)
	}
	return s
}

// Say sets what the next heartbeats are.
func (s *Beat) Say(m proto.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.message = m
}

// Lock keeps heartbeats back while the stream sends something. Unlock follows it.
func (s *Beat) Lock() { s.sending.Lock() }

// Unlock notes that something was sent, and lets heartbeats come again.
func (s *Beat) Unlock() {
	s.last = time.Now()
	s.sending.Unlock()
}

// End ends the heartbeats. It does not wait for one that a slow client holds up, which is given up when the handler has returned.
func (s *Beat) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.timer != nil && s.timer.Stop() {
		s.beats.running.Done()
	}
}

// tick sends a heartbeat when it is time for one, and comes again.
func (s *Beat) tick() {
	wait, err := s.beat()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || err != nil { // the handler learns by itself that nothing can be sent
		s.beats.running.Done()
		return
	}
	s.timer.Reset(wait)
}

// beat sends a heartbeat unless something else was sent meanwhile. It returns when to look again.
func (s *Beat) beat() (time.Duration, error) {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.last.IsZero() {
		return s.beats.every, nil
	}
	if wait := s.beats.every - time.Since(s.last); wait > 0 {
		return wait, nil
	}
	s.mu.Lock()
	m, over := s.message, s.over
	s.mu.Unlock()
	if over {
		return 0, nil
	}
	err := s.send(m)
	s.last = time.Now()
	return s.beats.every, err
}
