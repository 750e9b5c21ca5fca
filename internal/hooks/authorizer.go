// Package hooks calls the services that the user of Trunkline implements.
package hooks

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// Config tunes an Authorizer. The zero value of a field means that of Default.
type Config struct {
	// Timeout is for each call.
	Timeout time.Duration
	// Cache is for how long an answer is believed at most. CacheEntries is how many are kept.
	Cache        time.Duration
	CacheEntries int
	// FailOpen allows what cannot be asked; otherwise it is refused with AUTHORIZER_UNAVAILABLE.
	FailOpen bool
	// Connect, Subscribe, Publish and Deliver say what is asked about; all but Deliver when none is set.
	Connect, Subscribe, Publish, Deliver bool
}

// Default returns the defaults.
func Default() Config {
	return Config{Timeout: time.Second, Cache: 10 * time.Second, CacheEntries: 100_000}
}

// Authorizer asks an AuthorizerService. Equal questions share one call, and answers are believed for a stated time.
type Authorizer struct {
	service hooksv1.AuthorizerServiceClient
	cfg     Config
	log     *slog.Logger
	calls   *prometheus.CounterVec
	cache   *lru.Cache[string, answer]
	flights singleflight.Group
	warn    *rate.Limiter
}

var _ bus.DeliveryAuthorizer = (*Authorizer)(nil)

// answer is what was decided, and until when it holds.
type answer struct {
	allowed bool
	reason  string
	until   time.Time
}

// New returns an authorizer that calls the service over a connection.
func New(conn grpc.ClientConnInterface, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Authorizer, error) {
	d := Default()
	cfg.Timeout, cfg.Cache = cmp.Or(cfg.Timeout, d.Timeout), cmp.Or(cfg.Cache, d.Cache)
	cfg.CacheEntries = cmp.Or(cfg.CacheEntries, d.CacheEntries)
	if !cfg.Connect && !cfg.Subscribe && !cfg.Publish && !cfg.Deliver {
		cfg.Connect, cfg.Subscribe, cfg.Publish = true, true, true
	}
	cache, err := lru.New[string, answer](cfg.CacheEntries)
	if err != nil {
		return nil, fmt.Errorf("make the authorizer's cache: %w", err)
	}
	a := &Authorizer{
		service: hooksv1.NewAuthorizerServiceClient(conn), cfg: cfg, log: log, cache: cache, warn: rate.NewLimiter(rate.Every(10*time.Second), 1),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_authorizer_decisions_total", Help: "Decisions of the authorizer, by what was asked and what came of it.",
		}, []string{"action", "outcome"}),
	}
	if reg != nil {
		reg.MustRegister(a.calls)
	}
	return a, nil
}

// Authorize returns nil when the service allows it.
func (a *Authorizer) Authorize(ctx context.Context, q bus.Question) error {
	name := actionName(q.Action)
	if !a.asks(q.Action) {
		return nil
	}
	key := keyOf(q)
	if known, ok := a.cache.Get(key); ok && time.Now().Before(known.until) {
		a.calls.WithLabelValues(name, "cached").Inc()
		return known.refusal(q)
	}
	// The call goes on when the first of those who share it gives up.
	flight := a.flights.DoChan(key, func() (any, error) { return a.ask(key, q) })
	select {
	case r := <-flight:
		if r.Err != nil {
			return a.away(name, r.Err)
		}
		decided, _ := r.Val.(answer)
		outcome := "allowed"
		if !decided.allowed {
			outcome = "denied"
		}
		a.calls.WithLabelValues(name, outcome).Inc()
		return decided.refusal(q)
	case <-ctx.Done():
		return a.away(name, ctx.Err())
	}
}

// AsksDeliver says whether Deliver is asked about.
func (a *Authorizer) AsksDeliver() bool { return a.cfg.Deliver }

func (a *Authorizer) asks(action bus.Action) bool {
	switch action {
	case bus.Connect:
		return a.cfg.Connect
	case bus.Subscribe:
		return a.cfg.Subscribe
	case bus.Deliver:
		return a.cfg.Deliver
	}
	return a.cfg.Publish
}

func actionName(action bus.Action) string {
	switch action {
	case bus.Connect:
		return "connect"
	case bus.Subscribe:
		return "subscribe"
	case bus.Deliver:
		return "deliver"
	}
	return "publish"
}

// keyOf is the same for the same question of the same token, and no longer for a longer token. No part of what it is made from has a
// line break.
func keyOf(q bus.Question) string {
	parts := []string{actionName(q.Action), q.Identity.TokenID, q.Identity.Client, q.Identity.User, q.Identity.Session, q.Address.String()}
	if p := q.Place; p != nil {
		parts = append(parts, p.Dialect, strconv.Quote(p.Facility)) // a facility is any text
		parts = append(parts, p.Wishes...)
	}
	if q.Message != nil {
		parts = append(parts, q.Message.ID)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return string(sum[:])
}

// ask makes one call and remembers the answer.
func (a *Authorizer) ask(key string, q bus.Question) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.cfg.Timeout)
	defer cancel()
	bounded := grpc.MaxCallRecvMsgSize(maxAnswer)
	who := &hooksv1.Subject{
		Client: q.Identity.Client, User: q.Identity.User, Session: q.Identity.Session, Groups: q.Identity.Groups, TokenId: q.Identity.TokenID,
	}
	place := bus.Place{}
	if q.Place != nil {
		place = *q.Place
	}
	facility := strings.ToValidUTF8(place.Facility, "\ufffd") // any bytes, of which the contract takes text alone
	var d *hooksv1.Decision
	var err error
	switch q.Action {
	case bus.Connect:
		var resp *hooksv1.AuthorizeConnectResponse
		resp, err = a.service.AuthorizeConnect(ctx, &hooksv1.AuthorizeConnectRequest{
			Subject: who, Dialect: place.Dialect, Facility: facility, Wishes: place.Wishes,
		})
		d = resp.GetDecision()
	case bus.Subscribe:
		var resp *hooksv1.AuthorizeSubscribeResponse
		resp, err = a.service.AuthorizeSubscribe(ctx, &hooksv1.AuthorizeSubscribeRequest{
			Subject: who, Address: q.Address.String(), Dialect: place.Dialect, Facility: facility, Audience: audience(q),
		})
		d = resp.GetDecision()
	case bus.Deliver:
		var resp *hooksv1.AuthorizeDeliverResponse
		resp, err = a.service.AuthorizeDeliver(ctx, &hooksv1.AuthorizeDeliverRequest{
			Subject: who, Address: q.Address.String(), MessageId: q.Message.ID, Attributes: q.Message.Attributes,
		}, bounded)
		d = resp.GetDecision()
	default:
		var resp *hooksv1.AuthorizePublishResponse
		resp, err = a.service.AuthorizePublish(ctx, &hooksv1.AuthorizePublishRequest{
			Subject: who, Address: q.Address.String(), Dialect: place.Dialect, Facility: facility, Audience: audience(q),
		}, bounded)
		d = resp.GetDecision()
	}
	if err == nil && d == nil {
		err = fmt.Errorf("the answer has no decision")
	}
	if err != nil {
		return answer{}, err
	}
	keep := a.cfg.Cache
	if d.GetCacheFor() != nil {
		keep = min(keep, d.GetCacheFor().AsDuration())
	}
	out := answer{allowed: d.GetAllowed(), reason: sentence(d.GetReason()), until: time.Now().Add(keep)}
	if keep > 0 {
		a.cache.Add(key, out)
	}
	return out, nil
}

// audience is what the facility protocol calls the address of a question; empty in other protocols.
func audience(q bus.Question) string {
	if q.Place == nil || len(q.Place.Wishes) == 0 {
		return ""
	}
	return strings.TrimSuffix(string(q.Address.Kind()), "s")
}

// maxReason is the longest reason that a client is told, in bytes.
const maxReason = 256

// maxAnswer is the largest answer that is read, in bytes.
const maxAnswer = 64 << 10

// sentence is a reason as a client may be told it. It is a copy, which keeps nothing of a longer reason.
func sentence(s string) string {
	if !utf8.ValidString(s) {
		return ""
	}
	s = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) { // what moves or hides the text around it
			return ' '
		}
		return r
	}, s)
	for len(s) > maxReason {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return strings.Clone(s)
}

func (d answer) refusal(q bus.Question) error {
	if d.allowed {
		return nil
	}
	facts := map[string]string{"by": "authorizer"}
	if q.Action == bus.Connect {
		return bus.ErrPermissionDenied.With(d.reason, facts)
	}
	facts["address"] = q.Address.String()
	if q.Action == bus.Deliver {
		return bus.ErrPermissionDenied.With(d.reason, facts)
	}
	if q.Action == bus.Subscribe {
		return bus.ErrSubscribeDenied.With(d.reason, facts)
	}
	return bus.ErrPublishDenied.With(d.reason, facts)
}

// away is what becomes of a question that could not be asked. An answer that cannot be read may be a no, and allows nothing.
func (a *Authorizer) away(name string, err error) error {
	open := a.cfg.FailOpen && !unreadable(err)
	if a.warn.Allow() {
		a.log.Warn("the authorizer does not answer", slog.Bool("allowed", open), slog.String("asked", name), slog.String("error", err.Error()))
	}
	if open {
		a.calls.WithLabelValues(name, "failed_open").Inc()
		return nil
	}
	a.calls.WithLabelValues(name, "failed_closed").Inc()
	return bus.ErrAuthorizerAway.Wrap(err)
}

// unreadable says whether the service has answered with what gRPC cannot read here, such as what is too large or not UTF-8. The client
// of gRPC says so with this prefix.
func unreadable(err error) bool {
	s, ok := status.FromError(err)
	if !ok || !strings.HasPrefix(s.Message(), "grpc: ") {
		return false
	}
	switch s.Code() {
	case codes.Internal, codes.ResourceExhausted, codes.Unimplemented:
		return true
	}
	return false
}

// forgetEvery is how often answers whose time is over are looked for.
const forgetEvery = 10 * time.Second

// Run forgets answers whose time is over, until ctx ends.
func (a *Authorizer) Run(ctx context.Context) error {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			a.forget(now)
		}
	}
}

func (a *Authorizer) forget(now time.Time) {
	for _, key := range a.cache.Keys() {
		if known, ok := a.cache.Peek(key); ok && !now.Before(known.until) {
			a.cache.Remove(key)
		}
	}
}
