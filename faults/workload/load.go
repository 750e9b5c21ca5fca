// Package workload publishes and subscribes as strangers would, through every door, and writes down what it does and sees.
package workload

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/trunkline/trunkline/faults/proc"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/judge"
)

// Options say how much is done, and by whom.
type Options struct {
	Channels int // that are published to
	Rate     int // publishes to channels a second
	Payload  int // the most bytes of one

	Stay, Leave int // raw WebSocket subscribers that stay, and that leave and resume all the time
	Apps        int // Go clients
	Streams     int // server-sent events, and as many over gRPC
	Users       int // with an inbox; every third has two devices
	InboxRate   int // publishes to inboxes a second
	Members     int // whose presence is watched

	Slow int  // raw subscribers that read nothing for 5 s, again and again
	Big  bool // all payloads are as large as may be

	// Away is the longest time that one who leaves stays away; 1 s when 0. A storm has little.
	Away time.Duration
	// Durability is asked for with each publish.
	Durability publishv1.Durability
	Replicas   uint32
}

// Default is the workload of a row that says nothing else.
func Default() Options {
	return Options{
		Channels: 20, Rate: 250, Payload: 4 << 10, Stay: 20, Leave: 12, Apps: 10, Streams: 4, Users: 12, InboxRate: 20, Members: 4,
	}
}

// Load is a workload that runs.
type Load struct {
	sys  *proc.System
	rec  *judge.Record
	o    Options
	seed uint64
	conn *grpc.ClientConn
	auth *grpc.ClientConn

	publishing context.CancelFunc
	publishers sync.WaitGroup
	following  context.CancelFunc
	followers  sync.WaitGroup
	all        []*follower
	streams    atomic.Int64

	lastOK, lastDelivery atomic.Int64 // ms of Unix
	oks                  atomic.Int64
	unanswered           atomic.Int64
	ending               atomic.Bool
}

// Start begins the workload; everybody has subscribed when it returns.
func Start(ctx context.Context, sys *proc.System, rec *judge.Record, o Options, seed uint64) (*Load, error) {
	l := &Load{sys: sys, rec: rec, o: o, seed: seed}
	var err error
	if l.conn, err = dial(sys.GRPC); err != nil {
		return nil, err
	}
	if l.auth, err = dial(sys.Auth); err != nil {
		return nil, err
	}
	ctx, l.following = context.WithCancel(ctx)
	if err := l.follow(ctx); err != nil {
		return l, err
	}
	publishing, stop := context.WithCancel(ctx)
	l.publishing = stop
	l.publish(publishing)
	return l, nil
}

func dial(addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(grpc.ConnectParams{
		Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, MaxDelay: 300 * time.Millisecond}, MinConnectTimeout: time.Second,
	}))
}

// as adds the API key.
func (l *Load) as(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+l.sys.APIKey)
}

// Channel is the address of channel i.
func Channel(i int) string { return fmt.Sprintf("channels/kept:%d", i) }

func user(i int) string { return fmt.Sprintf("users/u%d", i) }

// Token asks for a token of a client that may do everything on channels.
func (l *Load) Token(ctx context.Context, client, user string, ttl time.Duration) (string, error) {
	r := &authv1.IssueTokenRequest{Client: client, User: user, Grants: []*authv1.Grant{{Address: "channels/*", Actions: []authv1.Action{
		authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_HISTORY, authv1.Action_ACTION_PUBLISH, authv1.Action_ACTION_PRESENCE,
	}}}}
	if ttl > 0 {
		r.Ttl = durationpb.New(ttl)
	}
	resp, err := authv1.NewAuthServiceClient(l.auth).IssueToken(l.as(ctx), r)
	if err != nil {
		return "", fmt.Errorf("issue a token: %w", err)
	}
	l.sys.Secret(resp.GetToken())
	return resp.GetToken(), nil
}

// Revoke revokes a token.
func (l *Load) Revoke(ctx context.Context, token string) error {
	_, err := authv1.NewAuthServiceClient(l.auth).RevokeToken(l.as(ctx), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Token{Token: token}})
	return err
}

// message is one publish.
type message struct {
	key, to, text string
	ack           bool
}

const letters = "abcdefghijklmnopqrstuvwxyz0123456789"

// compose makes a message whose payload names its key and its address.
func compose(r *rand.Rand, key, to string, most int, ack bool) message {
	return fill(r, key, to, most, ack, false)
}

func fill(r *rand.Rand, key, to string, most int, ack, big bool) message {
	var b strings.Builder
	b.WriteString(key + " " + to + " ")
	size := 64 + r.IntN(256)
	if r.IntN(20) == 0 {
		size = 64 + r.IntN(max(most, 1))
	}
	if big {
		b.WriteString(strings.Repeat(string(letters[r.IntN(len(letters))]), max(most-64, 0)))
	}
	for b.Len() < size {
		b.WriteByte(letters[r.IntN(len(letters))])
	}
	return message{key: key, to: to, text: b.String(), ack: ack}
}

// digest tells payloads apart.
func digest(text string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return fmt.Sprintf("%016x", h.Sum64())
}

// decompose returns the key and the address that a payload names.
func decompose(text string) (key, origin string) {
	key, rest, _ := strings.Cut(text, " ")
	origin, _, _ = strings.Cut(rest, " ")
	return key, origin
}

func (l *Load) random(stream string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(stream))
	return rand.New(rand.NewPCG(l.seed, h.Sum64())) //nolint:gosec // repeatable
}

// OKs returns how many publishes were answered OK.
func (l *Load) OKs() int64 { return l.oks.Load() }

// Unanswered returns how many calls over REST were begun and ended without an answer, although nobody gave them up.
func (l *Load) Unanswered() int64 { return l.unanswered.Load() }

// NextOK waits until a publish that begins after now is answered OK, and returns how long that took.
func (l *Load) NextOK(ctx context.Context) (time.Duration, error) { return after(ctx, &l.lastOK) }

// NextDelivery waits for a delivery.
func (l *Load) NextDelivery(ctx context.Context) (time.Duration, error) {
	return after(ctx, &l.lastDelivery)
}

func after(ctx context.Context, at *atomic.Int64) (time.Duration, error) {
	start := time.Now()
	for at.Load() <= start.UnixMilli() {
		if err := proc.Wait(ctx, 5*time.Millisecond); err != nil {
			return time.Since(start), err
		}
	}
	return time.Since(start), nil
}

// Finish lets publishers end, resumes every subscriber once more, and lets all read to the end.
func (l *Load) Finish(ctx context.Context) error {
	l.publishing()
	l.publishers.Wait()
	l.ending.Store(true)
	for _, f := range l.all {
		f.again()
	}
	l.sys.Front.Drop()
	last := &unary{l: l, client: publishv1.NewPublishServiceClient(l.conn)}
	random := l.random("end")
	var ends sync.WaitGroup
	for _, to := range l.addresses() {
		key := "end-" + strings.ReplaceAll(to, "/", "-")
		m := compose(random, key, to, 64, strings.HasPrefix(to, "users/"))
		ends.Go(func() { l.send(ctx, "end", last, m) })
	}
	ends.Wait()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	unfinished := 0
	for _, f := range l.all {
		select {
		case <-f.ended:
		case <-ctx.Done():
			unfinished++
		}
	}
	for _, f := range l.all {
		for _, to := range f.addresses {
			l.rec.Add(judge.Event{Kind: judge.Finished, Who: f.who, Address: to})
		}
	}
	l.Stop()
	if unfinished > 0 {
		return fmt.Errorf("%d of %d subscribers did not come to the end of what they follow", unfinished, len(l.all))
	}
	return nil
}

// addresses are those that were published to.
func (l *Load) addresses() []string {
	var all []string
	for i := range l.o.Channels {
		all = append(all, Channel(i))
	}
	for i := range l.o.Users {
		all = append(all, user(i))
	}
	return all
}

// Stop ends everything.
func (l *Load) Stop() {
	if l.publishing != nil {
		l.publishing()
	}
	l.publishers.Wait()
	l.following()
	l.followers.Wait()
	_, _ = l.conn.Close(), l.auth.Close()
}

// Connects says whether an edge takes a token.
func (l *Load) Connects(ctx context.Context, edge int, token string) error {
	conn, _, err := open(ctx, l.sys.Edges[edge], connect{Token: token})
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// CaughtUp publishes to every channel, and waits until all of them have come to everybody who is connected.
func (l *Load) CaughtUp(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	n := l.streams.Add(1)
	door := &unary{l: l, client: publishv1.NewPublishServiceClient(l.conn)}
	random := l.random("now")
	var sent sync.WaitGroup
	for i := range l.o.Channels {
		m := compose(random, fmt.Sprintf("now%d-%d", n, i), Channel(i), 64, false)
		sent.Go(func() { l.send(ctx, "now", door, m) })
	}
	sent.Wait()
	wanted := fmt.Sprintf("now%d-", n)
	for _, f := range l.all {
		for !f.saw(wanted) {
			if err := proc.Wait(ctx, 10*time.Millisecond); err != nil {
				return time.Since(start), fmt.Errorf("%s does not catch up: %w", f.who, err)
			}
		}
	}
	return time.Since(start), nil
}
