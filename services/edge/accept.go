package edge

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/refusal"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Route says how the connections of one listener are taken.
type Route struct {
	// Dialects are asked in this order; they must be among those given to New.
	Dialects []dialect.Dialect
	// AnyOrigin lets pages of any origin connect, as older systems did.
	AnyOrigin bool
}

// Handler returns the handler of a route.
func (e *Edge) Handler(route Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.serve(w, r, route) })
}

// serve takes one handshake (RFC 6455, section 4.2): origin, dialect, limits, token, upgrade. Everything that can be refused is
// refused before the upgrade, as an HTTP answer, unless the dialect's Hello says otherwise. The rest of this file follows in the
// order in which it happens; a connect command joins at open.
func (e *Edge) serve(w http.ResponseWriter, r *http.Request, route Route) {
	refuse := e.refuseHandshake
	if k, ok := route.Dialects[0].(dialect.Handshaker); ok {
		if !k.Check(w, r) {
			return
		}
		refuse = func(w http.ResponseWriter, err error) {
			refusal := rpc.FromError(err)
			e.metrics.refuse(refusal)
			k.RefuseHandshake(w, refusal)
		}
	}
	if status, text := checkUpgrade(w, r); status != 0 {
		http.Error(w, text, status)
		return
	}
	if len(r.Header.Values("Authorization")) > 1 {
		refuse(w, bus.ErrTokenInvalid.With("authorization was sent more than once", nil))
		return
	}
	if !route.AnyOrigin {
		if err := e.guard.Origins.Check(r); err != nil {
			refuse(w, err)
			return
		}
	}
	slot, hello := e.choose(r, route)
	if slot < 0 {
		refuse(w, bus.ErrProtocol.With("no protocol of this listener takes the handshake", nil))
		return
	}
	if hello.Refusal != nil {
		refuse(w, hello.Refusal)
		return
	}
	from := e.cfg.Peers.GroupOf(r)
	for _, stranger := range []*bus.Identity{hello.Identity, hello.Guest} {
		if stranger != nil {
			stranger.Peer = from
		}
	}
	seat, err := e.guard.Admit(from, !hello.Connect)
	if err != nil {
		refuse(w, err)
		return
	}
	s := e.newSession(slot, seat)
	if err := s.handshake(w, r, hello, refuse); err != nil {
		s.seat.Leave()
		s.seat.Free()
	}
}

// choose returns the first dialect of a route that takes the handshake, by its index; -1 when none does.
func (e *Edge) choose(r *http.Request, route Route) (int, dialect.Hello) {
	for _, d := range route.Dialects {
		if h, ok := d.Hello(r); ok {
			for slot, known := range e.dialects {
				if known == d {
					return slot, h
				}
			}
		}
	}
	return -1, dialect.Hello{}
}

// handshake finds out who connects, if the handshake says so, follows what is to be followed, and upgrades. A client that
// was answered misses nothing from then on. After a nil error the session belongs to its reader.
func (s *session) handshake(w http.ResponseWriter, r *http.Request, hello dialect.Hello, refuse func(http.ResponseWriter, error)) error {
	e := s.edge
	opening, refusal := s.prepare(r.Context(), hello)
	if refusal != nil && !refusedLate(hello, refusal) {
		refuse(w, refusal)
		return refusal
	}
	var header http.Header
	if hello.Subprotocol != "" {
		header = http.Header{"Sec-Websocket-Protocol": {hello.Subprotocol}}
	}
	if err := s.Conn.Upgrade(w, r, header, cmp.Or(hello.Limits.FrameSize, e.cfg.FrameSize)); err != nil {
		s.abandon()
		return err
	}
	e.metrics.opened.WithLabelValues(s.Dialect().Name()).Inc()
	e.metrics.connections.Inc()
	e.metrics.spoken.WithLabelValues(s.Dialect().Name()).Inc()
	s.Enter()
	switch {
	case refusal != nil:
		s.seat.Connected()
		e.metrics.refuse(rpc.FromError(refusal))
		s.Refuse(rpc.FromError(refusal))
		s.Conn.Start()
	case opening != nil:
		go func() {
			s.welcome(0, opening)
			s.seat.Connected()
			s.Conn.Start()
		}()
	default:
		s.seat.Connected() // until its connect command
		s.Conn.Start()
	}
	return nil
}

// refusedLate says whether a refusal is told by a close frame. A page that sees no code takes the refusal for a broken network,
// and would try for ever with a token that is not valid. What passes is rightly taken so, and costs less before the upgrade.
func refusedLate(hello dialect.Hello, err error) bool {
	switch refusal.Of(rpc.FromError(err).Reason).Code {
	case refusal.Unauthenticated, refusal.PermissionDenied:
		return hello.RefuseLate || hello.OfPage
	}
	return hello.RefuseLate
}

// prepare opens the session as far as is possible before the upgrade; nil when its connect command is to come.
func (s *session) prepare(ctx context.Context, hello dialect.Hello) (*opening, error) {
	if !hello.Connect {
		return nil, nil
	}
	e := s.edge
	ctx, cancel := context.WithTimeout(ctx, e.cfg.CallTimeout)
	defer cancel()
	asked := time.Now()
	identity := e.stranger(hello.Identity)
	if identity == nil {
		var err error
		identity, err = e.guard.Tokens.Validate(ctx, hello.Token)
		if err != nil && hello.Guest != nil && refusal.Of(rpc.FromError(err).Reason).Code == refusal.Unauthenticated {
			identity, err = e.stranger(hello.Guest), nil
		}
		if err == nil && identity != hello.Guest {
			err = s.seat.Hold(identity)
		}
		if err != nil {
			return nil, err
		}
	}
	s.single, s.onlyFollow, s.place = hello.Single, hello.OnlyFollow, hello.Place
	s.limit = cmp.Or(hello.Limits.Subscriptions, s.limit)
	s.Conn.Allow(hello.Limits.QueueBytes)
	s.Hold = hello.Limits.QueueBytes
	follow := hello.Follow
	if hello.FollowAs != nil {
		follow = append(follow, hello.FollowAs(identity)...)
	}
	opening, err := s.open(ctx, identity, asked, wantedOf(follow))
	if err != nil {
		return nil, err
	}
	if why := cmp.Or(unfollowed(opening), hello.Flaw); why != nil {
		s.abandon()
		return nil, why
	}
	if d, ok := s.Dialect().(dialect.Stateful); ok {
		t := talker{s}
		s.Talk = d.Converse(dialect.Capabilities{Conn: t, Follower: t, Publisher: t, States: t}, hello)
	}
	return opening, nil
}

// unfollowed returns why a handshake that asks for addresses cannot be answered now. What the client may not follow is left out.
// What nobody can be asked about now, or is allowed later, is not: the client would stay connected, and never hear of it.
func unfollowed(o *opening) *bus.Error {
	for _, req := range o.followed.asked {
		if why := rpc.FromError(req.refuse); why != nil && (refusal.Of(why.Reason).Code == refusal.Unavailable || why.RetryAfter > 0) {
			return why
		}
	}
	return nil
}

// strangerDoubt is more than an estimate of the store's clock is off.
const strangerDoubt = time.Second

// stranger begins the life of an identity without a token, nil for none. Nobody has issued it, so it begins now: after the
// revocations that were heard, and before those to come.
func (e *Edge) stranger(who *bus.Identity) *bus.Identity {
	if who == nil {
		return nil
	}
	who.Issued = e.store.Now().Add(-strangerDoubt)
	if heard := e.guard.Revocations.Newest(); !who.Issued.After(heard) {
		who.Issued = heard.Add(time.Millisecond) // the times of revocations rise by at least as much
	}
	return who
}

// opening is a session between open and welcome.
type opening struct {
	who      *bus.Identity
	asked    time.Time // when the identity was known to be valid
	followed *followed
	lost     []bus.Gap // of own addresses, since the connection before
}

// open makes the session the identity's: it follows the identity's own addresses and those asked for, holding
// what comes. The identity was valid at the time asked. After an error nothing is left.
func (s *session) open(ctx context.Context, who *bus.Identity, asked time.Time, wanted []*edgev1.Subscribe) (*opening, error) {
	if !time.Now().Before(who.Expires) {
		return nil, bus.ErrTokenExpired
	}
	if err := s.authorize(ctx, who, bus.Connect, bus.Address{}); err != nil {
		return nil, err
	}
	s.Client = who.Client
	f, err := s.follow(ctx, who, s.own(who), wanted)
	if err != nil {
		return nil, err
	}
	return &opening{who: who, asked: asked, followed: f}, nil
}

// welcome answers a session that was opened, replays, and lets messages through.
func (s *session) welcome(id uint32, o *opening) {
	ctx, cancel := context.WithTimeout(context.Background(), s.edge.cfg.CallTimeout)
	defer cancel()
	if !s.become(ctx, o.who, o.asked) {
		return
	}
	s.edge.behind.Events.Connected(s.ID, o.who)
	if s.Talk != nil {
		s.Talk.Start(ctx)
	} else {
		s.Reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Connected{Connected: s.connected(o)}})
	}
	s.seat.Connected() // what is replayed goes at the client's pace
	for _, g := range o.lost {
		s.Reply(&edgev1.ServerFrame{Event: &edgev1.ServerFrame_Gap{Gap: convert.GapProto(g)}})
	}
	s.start(o.followed)
}

// connected is the answer to a connect.
func (s *session) connected(o *opening) *edgev1.Connected {
	c := &edgev1.Connected{
		Connection:     s.ID,
		Client:         o.who.Client,
		User:           o.who.User,
		ExpireTime:     convert.Time(o.who.Expires),
		PingIntervalMs: uint32(s.edge.cfg.PingInterval.Milliseconds()),
		Node:           s.edge.cfg.Node,
		Subscriptions:  make([]*edgev1.SubscriptionResult, len(o.followed.asked)),
		Own:            places(o.followed.own, true),
	}
	for i, req := range o.followed.asked {
		if req.refuse != nil {
			c.Subscriptions[i] = &edgev1.SubscriptionResult{Outcome: &edgev1.SubscriptionResult_Error{Error: rpc.ErrorProto(req.refuse)}}
		} else {
			c.Subscriptions[i] = &edgev1.SubscriptionResult{Outcome: &edgev1.SubscriptionResult_Subscribed{Subscribed: req.answer()}}
		}
	}
	s.firstTicket(c, o.who)
	return c
}

func wantedOf(list []dialect.Follow) []*edgev1.Subscribe {
	wanted := make([]*edgev1.Subscribe, len(list))
	for i, f := range list {
		wanted[i] = &edgev1.Subscribe{Address: f.Address.String(), Presence: f.Presence, FromLast: f.Last}
	}
	return wanted
}

// checkUpgrade answers what is no WebSocket handshake; 0 when it is one, as far as gorilla does not check it.
func checkUpgrade(w http.ResponseWriter, r *http.Request) (status int, text string) {
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		status = http.StatusMethodNotAllowed
	case !r.ProtoAtLeast(1, 1): // in HTTP/1.0 the header means nothing (RFC 9110, section 7.8)
		w.Header().Set("Upgrade", "websocket")
		return http.StatusUpgradeRequired, "WebSocket needs HTTP/1.1 (a proxy in front may have to be told, as by proxy_http_version 1.1)"
	case !headerHas(r, "Upgrade", "websocket"):
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		status = http.StatusUpgradeRequired
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		w.Header().Set("Sec-WebSocket-Version", "13")
		status = http.StatusUpgradeRequired
	case r.ContentLength > 0 || len(r.TransferEncoding) > 0 || len(r.Header.Values("Sec-WebSocket-Key")) > 1:
		status = http.StatusBadRequest
	}
	return status, http.StatusText(status)
}

// headerHas says whether a comma-separated header has the token, in any case.
func headerHas(r *http.Request, name, token string) bool {
	for _, line := range r.Header.Values(name) {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// refuseHandshake answers with the error body that REST has.
func (e *Edge) refuseHandshake(w http.ResponseWriter, err error) {
	why := rpc.FromError(err)
	e.metrics.refuse(why)
	detail := map[string]any{
		"@type":  "type.googleapis.com/google.rpc.ErrorInfo",
		"reason": why.Reason, "domain": rpc.Domain, "metadata": why.Metadata,
	}
	row := refusal.Of(why.Reason)
	body := map[string]any{"error": map[string]any{
		"code": row.HTTP, "status": row.Code.String(), "message": why.Message, "details": []any{detail},
	}}
	if why.RetryAfter > 0 {
		seconds := (why.RetryAfter + time.Second - 1) / time.Second // rounded up
		w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	if row.HTTP == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(row.HTTP)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
