package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/rpc/lanes"
)

type subFlags struct {
	since         string
	fromBeginning bool
	fromLast      bool
	count         int
	raw           bool
}

func (p *program) sub() *cobra.Command {
	var f subFlags
	cmd := &cobra.Command{
		Use:   "sub ADDRESS…",
		Short: "Subscribe and print what arrives",
		Long: `Subscribe over WebSocket and print messages as they arrive; a bare name is a channel. The connection comes back
by itself and resumes where it stood. With an API key, or as a local caller in development mode, a token for
exactly these addresses is issued first.`,
		Example: "  trunkline sub demo\n  trunkline sub orders:eu orders:us --from-beginning -o jsonl\n  trunkline sub demo --since-position 6f1c:41 --count 10",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return p.subscribe(cmd.Context(), f, args) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.since, "since-position", "", "replay what came after EPOCH:OFFSET first")
	fl.BoolVar(&f.fromBeginning, "from-beginning", false, "replay everything that is kept first")
	fl.BoolVar(&f.fromLast, "from-last", false, "begin with the last message that is retained")
	fl.IntVar(&f.count, "count", 0, "end after this many messages")
	fl.BoolVar(&f.raw, "raw", false, "print the data alone")
	return cmd
}

// parsePosition reads EPOCH:OFFSET.
func parsePosition(s string) (*publishv1.Position, error) {
	if s == "" {
		return nil, nil
	}
	at := strings.LastIndexByte(s, ':')
	if at <= 0 {
		return nil, fmt.Errorf("position %q: write EPOCH:OFFSET, as history -o json shows them", s)
	}
	offset, err := strconv.ParseUint(s[at+1:], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("position %q: the offset is a number", s)
	}
	return &publishv1.Position{Epoch: s[:at], Offset: offset}, nil
}

// subscriber prints what arrives.
type subscriber struct {
	p        *program
	f        subFlags
	wanted   map[string]bool
	messages int
	gaps     int
	replayed int
	end      context.CancelCauseFunc

	mu   sync.Mutex
	lost error // why there was no session yet
	open bool
}

var errEnough = errors.New("enough")

func (p *program) subscribe(ctx context.Context, f subFlags, args []string) error {
	after, err := parsePosition(f.since)
	switch {
	case err != nil:
		return usageError{err}
	case after != nil && (f.fromBeginning || len(args) > 1):
		return usageError{errors.New("--since-position is for one address, and not together with --from-beginning")}
	case f.count < 0:
		return usageError{fmt.Errorf("--count %d is negative", f.count)}
	}
	addresses := make([]string, len(args))
	s := &subscriber{p: p, f: f, wanted: map[string]bool{}}
	for i, a := range args {
		addresses[i] = address(a)
		s.wanted[addresses[i]] = true
	}
	if _, err := p.endpoint(); err != nil { // it is asked for tokens, and both are checked by one rule
		return err
	}
	token, done, err := p.subscriberToken(ctx, addresses)
	if err != nil {
		return err
	}
	defer done()
	secured, err := p.tls()
	if err != nil {
		return err
	}
	c, err := client.New(client.Config{
		URL: p.server.text, Token: token, Name: "trunkline-cli/" + version, TLS: secured, Timeout: p.timeout,
		OnMessage: s.message, OnGap: s.gap, OnConnected: s.connected, OnDisconnected: s.disconnected, OnUnsubscribed: s.unsubscribed,
	})
	if err != nil {
		return usageError{err}
	}
	run, end := context.WithCancelCause(ctx)
	s.end = end
	ended := make(chan error, 1)
	go func() { ended <- c.Run(run) }()
	err = s.follow(run, c, addresses, after)
	if err == nil {
		select {
		case err = <-ended:
			ended <- nil
		case <-run.Done():
		}
	}
	end(err)
	if e := <-ended; err == nil {
		err = e
	}
	return s.finish(ctx, run, err)
}

// follow subscribes, one address after the other.
func (s *subscriber) follow(ctx context.Context, c *client.Client, addresses []string, after *publishv1.Position) error {
	for _, a := range addresses {
		call, cancel := context.WithTimeout(ctx, s.p.timeout)
		_, err := c.Subscribe(call, client.Subscription{Address: a, After: after, FromBeginning: s.f.fromBeginning, FromLast: s.f.fromLast})
		cancel()
		var refused *client.Error
		if errors.As(err, &refused) && refused.Reason == "FIELD_INVALID" && refused.Metadata["address"] == a {
			err = nil // one of the token's own addresses
		}
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
	}
	s.p.say("→ %s  subscribed to %s", wsURL(s.p.server.text), strings.Join(addresses, ", "))
	return nil
}

func (s *subscriber) message(m *publishv1.Message) {
	if !s.wanted[m.GetTo()] || s.f.count > 0 && s.messages >= s.f.count {
		return
	}
	s.messages++
	if m.GetRedelivered() {
		s.replayed++
	}
	var err error
	switch {
	case s.f.raw:
		_, err = s.p.out.Write(append(m.GetData(), '\n'))
	case s.p.output == "table":
		_, err = fmt.Fprintln(s.p.out, line(m))
	default:
		err = s.p.writeJSON(m)
	}
	if err != nil {
		s.end(err)
	}
	if s.f.count > 0 && s.messages >= s.f.count {
		s.end(errEnough)
	}
}

func (s *subscriber) gap(g *publishv1.Gap) {
	s.gaps++
	s.p.say("! gap in %s: messages after #%d are missing (%s)", g.GetAddress(), g.GetAfter().GetOffset(), g.GetReason())
}

func (s *subscriber) connected(*edgev1.Connected) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open && s.lost != nil {
		s.p.say("→ connected again")
	}
	s.open, s.lost = true, nil
}

func (s *subscriber) disconnected(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = failureOf(err, s.p.server.text)
	if !s.open {
		s.end(s.lost) // nothing has worked yet; waiting would hide why
		return
	}
	s.p.say("! %v", s.lost)
}

func (s *subscriber) unsubscribed(address string, err error) {
	if err == nil {
		s.p.say("! %s is not followed any more: its channel was deleted, or the token does not grant it", address)
		return
	}
	s.end(err)
}

// failureOf gives an error of the connection a reason.
func failureOf(err error, server string) error {
	var refused *client.Error
	var own failure
	if errors.As(err, &refused) || errors.As(err, &own) {
		return err
	}
	return failure{reason: "UNAVAILABLE", message: fmt.Sprintf("no WebSocket at %s: %v", server, err)}
}

func (s *subscriber) finish(ctx, run context.Context, err error) error {
	s.p.say("%d messages, %d replayed, %d gaps", s.messages, s.replayed, s.gaps)
	cause := context.Cause(run)
	switch {
	case errors.Is(cause, errEnough):
		return nil
	case ctx.Err() != nil:
		return errInterrupted
	case err != nil:
		return err
	}
	return cause
}

// subscriberToken returns what the client asks for tokens. That is the token of the command line as it is, or tokens for the
// addresses. They are issued with the API key, or as a local caller in development mode.
func (p *program) subscriberToken(ctx context.Context, addresses []string) (func(context.Context) (string, error), func(), error) {
	credential, err := p.credential()
	if err != nil {
		return nil, nil, err
	}
	if credential != "" && !apiKey(credential) {
		return func(context.Context) (string, error) { return credential, nil }, func() {}, nil
	}
	base, conn, done, err := p.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	issue := issuer{p: p, conn: conn, base: base, addresses: addresses}
	first, err := issue.token(ctx) // what is wrong with the key is known before anything connects
	if err != nil {
		done()
		return nil, nil, err
	}
	return func(ctx context.Context) (string, error) {
		if t := first; t != "" {
			first = ""
			return t, nil
		}
		return issue.token(ctx)
	}, done, nil
}

// issuer issues tokens of one client.
type issuer struct {
	p         *program
	conn      *lanes.Conn
	base      context.Context //nolint:containedctx // carries the credential
	addresses []string
	client    string
}

func (i *issuer) token(context.Context) (string, error) {
	req := &authv1.IssueTokenRequest{Client: i.client, Ttl: durationpb.New(15 * time.Minute)}
	for _, a := range i.addresses {
		req.Grants = append(req.Grants, &authv1.Grant{Address: a, Actions: reading})
	}
	resp, err := authv1.NewAuthServiceClient(i.conn).IssueToken(i.base, req)
	if err != nil {
		return "", i.p.remote(err)
	}
	i.client = resp.GetClient()
	return resp.GetToken(), nil
}

// reading is what a subscriber needs, also to resume.
var reading = []authv1.Action{authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_HISTORY}

// wsURL is the WebSocket of a server, for people.
func wsURL(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server
	}
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	return u.String()
}
