package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/retry"
	"github.com/trunkline/trunkline/internal/verify/door"
)

// rights are what the credential turned out to be good for.
type rights struct {
	issue     bool   // tokens can be issued with it
	publisher string // the client whose token publishes over REST and gRPC; empty for the credential itself
	reader    string // the one whose token follows streams, likewise
	publish   bool
	follow    bool
	socket    bool // there are tokens for WebSockets
	history   bool
	kept      bool // the channels keep a history
	created   []string

	mu     sync.Mutex
	tokens map[string]*authv1.IssueTokenResponse // by client
}

// channel returns the address of a channel of the run.
func (r *run) channel(name string) string { return "channels/" + r.Namespace + ":" + r.id + ":" + name }

// channels are what is published to. There are enough of them for their history to outlast an absence.
func (r *run) channels() []string {
	var all []string
	for i := range max(2, int(r.Rate)/25) {
		all = append(all, r.channel(fmt.Sprint(i)))
	}
	return all
}

// user names those that receive with an ack, and worker everybody else.
func (r *run) user() string   { return "verify-" + r.id + "-ack" }
func (r *run) worker() string { return "verify-" + r.id }

// prepare finds out what can be looked at.
func (r *run) prepare(ctx context.Context) error {
	r.Progress(0, "asking the server")
	r.rights.tokens = map[string]*authv1.IssueTokenResponse{}
	_, err := r.issue(ctx, "probe", r.worker(), 0)
	r.reached = true // from now on a server that does not answer may come back
	switch {
	case err == nil:
		r.rights.issue = true
	case !door.Denied(err):
		return fmt.Errorf("issue a token: %w", err)
	}
	if err := r.create(ctx); err != nil {
		return err
	}
	if err := r.mayPublish(ctx); err != nil {
		return err
	}
	if err := r.mayFollow(ctx); err != nil {
		return err
	}
	if !r.rights.publish && !r.rights.follow {
		return fmt.Errorf("nothing can be looked at: %w", err)
	}
	r.rights.socket = r.rights.issue || r.Credential != "" && !strings.HasPrefix(r.Credential, "tlk_")
	if err := r.mayGRPC(ctx); err != nil {
		return err
	}
	r.lacking()
	return nil
}

// create makes the channels, so that they can be deleted with their history.
func (r *run) create(ctx context.Context) error {
	for _, c := range append(r.channels(), r.channel("lobby")) {
		req := &publishv1.CreateChannelRequest{Name: c}
		err := r.do(ctx, http.MethodPost, "/v1/channels", req, nil)
		if door.Denied(err) {
			r.leave("the history of %s:*, until it is older than its namespace keeps (the scope channels lets it be deleted)", strings.TrimSuffix(r.channel(""), ":"))
			return nil
		}
		if err != nil {
			return fmt.Errorf("create %s: %w", c, err)
		}
		r.rights.created = append(r.rights.created, c)
	}
	return nil
}

func (r *run) leave(format string, args ...any) {
	r.left = append(r.left, fmt.Sprintf(format, args...))
}

// mayPublish publishes a first message to each channel.
func (r *run) mayPublish(ctx context.Context) error {
	for i, c := range r.channels() {
		p := door.Publication{To: c, Key: fmt.Sprintf("first-%s-%d", r.id, i)}
		p.Data = compose(p.Key, c, r.Size)
		a, err := r.send(ctx, "first", r.rest, p)
		if i == 0 && door.Denied(err) && r.rights.issue {
			r.rights.publisher = "publisher"
			p.Key += "-again"
			p.Data = compose(p.Key, c, r.Size)
			a, err = r.send(ctx, "first", r.rest, p)
		}
		if door.Denied(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("publish to %s: %w", c, err)
		}
		r.rights.publish, r.rights.kept = true, a.Position.Epoch != ""
	}
	return nil
}

// mayFollow asks for the history of a channel, which whoever resumes needs, and for its stream.
func (r *run) mayFollow(ctx context.Context) error {
	for _, tried := range []bool{false, true} {
		if tried {
			if !r.rights.issue {
				return nil
			}
			r.rights.reader = "reader"
		}
		call, cancel := context.WithTimeout(ctx, r.Timeout)
		open := false
		err := r.overSSE(r.reader)(call, []door.Place{{Address: r.channels()[0]}}, func(e door.Event) {
			open = open || e.Subscribed != nil
			cancel()
		})
		cancel()
		if !open && !door.Denied(err) {
			return fmt.Errorf("follow %s: %w", r.channels()[0], err)
		}
		if open {
			r.rights.follow = true
			break
		}
	}
	if !r.rights.follow {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	credential, err := r.reader(call)
	if err != nil {
		return err
	}
	err = r.server.Do(call, credential, http.MethodGet, "/v1/"+r.channels()[0]+"/messages", nil, nil)
	if err != nil && !door.Denied(err) {
		return fmt.Errorf("read the history of %s: %w", r.channels()[0], err)
	}
	r.rights.history = err == nil
	return nil
}

// mayGRPC finds out whether gRPC answers. Where nobody has named it, it may be for back ends alone.
func (r *run) mayGRPC(ctx context.Context) error {
	if r.server.GRPC == nil {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	p := door.Publication{To: r.channels()[0], Key: "first-" + r.id + "-grpc"}
	p.Data = compose(p.Key, p.To, r.Size)
	if !r.rights.publish {
		return nil // following it will show
	}
	_, err := r.attempt(call, "first", r.grpc, p)
	if err == nil {
		return nil
	}
	if r.GRPCNamed {
		return fmt.Errorf("publish over gRPC at %s: %w", r.Target, err)
	}
	r.server.GRPC = nil
	r.Target = fmt.Sprintf("%s does not answer as gRPC (%s); name it with --grpc", r.Target, door.Short(err))
	return nil
}

// lacking says what cannot be looked at.
func (r *run) lacking() {
	g := &r.rights
	skip := func(missing bool, reason string, prefixes ...string) {
		for _, p := range prefixes {
			if missing {
				r.book.skip(p, "%s", reason)
			}
		}
	}
	skip(!g.kept, "the namespace "+r.Namespace+" keeps no history; name another one with --namespace", "delivery.lost", "delivery.gaps",
		"delivery.duplicates", "delivery.order", "delivery.resume")
	skip(!g.history, "the credential grants no history of channels/"+r.Namespace+":*", "delivery.resume")
	skip(!g.issue, "no tokens can be issued; use an API key with the scope tokens.issue", "rights.", "acks.", "revocation.", "expiry.", "members.")
	skip(!g.follow, "the credential may not subscribe to channels/"+r.Namespace+":*", "delivery.lost", "delivery.gaps", "delivery.duplicates",
		"delivery.order", "delivery.foreign", "delivery.time", "delivery.resume", "revocation.", "expiry.", "members.")
	skip(!g.publish, "the credential may not publish to channels/"+r.Namespace+":*", "delivery.", "repeat.", "acks.")
	use := func(name string, missing ...string) {
		d := Door{Name: name, Used: true}
		for _, reason := range missing {
			if reason != "" {
				d.Used, d.Reason = false, reason
				break
			}
		}
		r.doors = append(r.doors, d)
	}
	why := func(missing bool, reason string) string {
		if missing {
			return reason
		}
		return ""
	}
	noGRPC, noSocket := why(r.server.GRPC == nil, r.Target), why(!g.socket, "an API key opens no WebSocket, and may issue no tokens")
	noPublish, noFollow := why(!g.publish, "the right to publish is missing"), why(!g.follow, "the right to subscribe is missing")
	use("publish over REST", noPublish)
	use("publish over gRPC", noPublish, noGRPC)
	use("publish over WebSocket", noPublish, noSocket)
	use("follow over WebSocket", noFollow, noSocket)
	use("follow over server-sent events", noFollow)
	use("follow over gRPC", noFollow, noGRPC)
}

// do makes a call over REST with the credential.
func (r *run) do(ctx context.Context, method, path string, req, resp message) error {
	return r.repeated(ctx, func(ctx context.Context) error { return r.server.Do(ctx, r.Credential, method, path, req, resp) })
}

// repeated makes a call, which may be repeated, until its outcome is known.
func (r *run) repeated(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	for failures := 0; ; failures++ {
		once, done := context.WithTimeout(ctx, r.Timeout)
		err := call(once)
		done()
		if _, told := errors.AsType[*door.Refused](err); err == nil || door.Final(err) || !told && !r.reached {
			return err
		}
		if !wait(ctx, max(door.Wait(err), 20*time.Millisecond+retry.Backoff(failures))) {
			return err
		}
	}
}

// issue asks for a token that is good for what the run has made. A life of 0 is the server's standard.
func (r *run) issue(ctx context.Context, client, user string, life time.Duration) (*authv1.IssueTokenResponse, error) {
	every := []authv1.Action{
		authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PUBLISH, authv1.Action_ACTION_HISTORY, authv1.Action_ACTION_PRESENCE,
	}
	return r.grant(ctx, client, user, life, &authv1.Grant{Address: r.channel("*"), Actions: every},
		&authv1.Grant{Address: "users/" + r.user(), Actions: []authv1.Action{authv1.Action_ACTION_PUBLISH}})
}

func (r *run) grant(ctx context.Context, client, user string, life time.Duration, grants ...*authv1.Grant) (*authv1.IssueTokenResponse, error) {
	req := &authv1.IssueTokenRequest{Client: "verify-" + r.id + "-" + client, User: user, Grants: grants}
	if life > 0 {
		req.Ttl = durationpb.New(life)
	}
	resp := &authv1.IssueTokenResponse{}
	return resp, r.do(ctx, http.MethodPost, "/v1/tokens:issue", req, resp)
}

// token returns a token of a client: the one that it had, while that lives.
func (r *run) token(ctx context.Context, client string) (string, error) {
	if !r.rights.issue {
		if r.Credential == "" {
			return "", errors.New("there is no token")
		}
		return r.Credential, nil
	}
	r.rights.mu.Lock()
	had := r.rights.tokens[client]
	r.rights.mu.Unlock()
	if had != nil && time.Until(had.GetExpireTime().AsTime()) > time.Minute {
		return had.GetToken(), nil
	}
	got, err := r.issue(ctx, client, r.worker(), 0)
	if err != nil {
		return "", err
	}
	r.rights.mu.Lock()
	r.rights.tokens[client] = got
	r.rights.mu.Unlock()
	return got.GetToken(), nil
}

// reader returns what follows streams, and publisher what publishes over REST and gRPC.
func (r *run) reader(ctx context.Context) (string, error) { return r.credential(ctx, r.rights.reader) }

func (r *run) publisher(ctx context.Context) (string, error) {
	return r.credential(ctx, r.rights.publisher)
}

func (r *run) credential(ctx context.Context, client string) (string, error) {
	if client == "" {
		return r.Credential, nil
	}
	return r.token(ctx, client)
}

// renewed forgets the token of a client that a server does not take any more, as after a loss of its keys. Another one may do.
func (r *run) renewed(client string, err error) error {
	if !door.Unauthenticated(err) || client == "" || !r.rights.issue {
		return err
	}
	r.rights.mu.Lock()
	delete(r.rights.tokens, client)
	r.rights.mu.Unlock()
	return &door.Refused{Reason: "UNAVAILABLE", Message: err.Error(), Again: true}
}
