package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptrace"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// position is where a log stands.
type position struct {
	Epoch  string `json:"epoch"`
	Offset string `json:"offset,omitempty"`
}

func (p position) number() uint64 {
	n, _ := strconv.ParseUint(p.Offset, 10, 64) // none is 0
	return n
}

// frame is what a peer reads of a server's frame.
type frame struct {
	Connected *struct {
		Ticket        string
		Subscriptions []struct {
			Subscribed *struct {
				Position  position
				Recovered bool
			}
		}
	}
	Message *struct {
		PublishTime time.Time
		Position    position
	}
	Gap       json.RawMessage
	Refreshed json.RawMessage
	Pong      json.RawMessage
	Error     *struct{ Reason, RetryDelay string }
}

// peer is one connection that costs little: thousands of them fit into a test.
type peer struct {
	ws     *websocket.Conn
	ticket string
	last   position // of the one address that it may be subscribed to
}

var peerDialer = websocket.Dialer{HandshakeTimeout: 30 * time.Second, ReadBufferSize: 512, WriteBufferSize: 512, Subprotocols: []string{"trunkline.v1.json"}}

// tooLate is nearly as long as an edge waits for the header of a handshake, which is 5 seconds.
const tooLate = 4 * time.Second

// shake makes a handshake. Thousands of peers share this process. On a busy machine, one may therefore write its request only
// after the edge has given up waiting for it. Such a peer comes again, as any client does.
func shake(at string) (*websocket.Conn, error) {
	for {
		var begun, wrote time.Time
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
			ConnectStart: func(string, string) { begun = time.Now() },
			WroteRequest: func(httptrace.WroteRequestInfo) { wrote = time.Now() },
		})
		ws, resp, err := peerDialer.DialContext(ctx, "ws://"+at+"/v1/ws", nil)
		if err == nil {
			return ws, nil
		}
		if resp != nil {
			_ = resp.Body.Close()
		}
		took := wrote.Sub(begun)
		cutOff := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
		if !cutOff || took < tooLate {
			return nil, fmt.Errorf("a handshake whose request was written after %s: %w", took, err)
		}
	}
}

// connect opens a connection with a token, or with the ticket when there is one. It follows the address from where the peer
// stands; no address means that it follows none.
func (p *peer) connect(at, token, address string) error {
	ws, err := shake(at)
	if err != nil {
		return err
	}
	p.ws = ws
	credential := map[string]any{"token": token}
	if p.ticket != "" {
		credential = map[string]any{"ticket": p.ticket}
	}
	if address != "" {
		sub := map[string]any{"address": address}
		if p.last.Epoch != "" {
			sub["after"] = p.last
		}
		credential["subscriptions"] = []any{sub}
	}
	if err := ws.WriteJSON(map[string]any{"id": 1, "connect": credential}); err != nil {
		return err
	}
	f, err := p.read()
	switch {
	case err != nil:
		return err
	case f.Error != nil:
		return errors.New("connect: " + f.Error.Reason)
	case f.Connected == nil:
		return errors.New("connect was answered by another frame")
	}
	p.ticket = f.Connected.Ticket
	if address == "" {
		return nil
	}
	sub := f.Connected.Subscriptions[0].Subscribed
	if sub == nil || p.last.Epoch != "" && !sub.Recovered {
		return errors.New("the subscription was refused, or not recovered")
	}
	p.last = sub.Position
	return nil
}

func (p *peer) read() (frame, error) {
	var f frame
	if err := p.ws.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
		return f, err
	}
	_, data, err := p.ws.ReadMessage()
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	return f, err
}

// next reads one frame and follows the positions; a message that is not the next one is an error.
func (p *peer) next() (frame, error) {
	f, err := p.read()
	switch {
	case err != nil:
		return f, err
	case f.Gap != nil:
		return f, fmt.Errorf("a gap: %s", f.Gap)
	case f.Message != nil:
		begins := p.last.number() == 0 // nothing was there yet: the first message makes the epoch
		if f.Message.Position.Epoch != p.last.Epoch && !begins || f.Message.Position.number() != p.last.number()+1 {
			return f, fmt.Errorf("%v came after %v", f.Message.Position, p.last)
		}
		p.last = f.Message.Position
	}
	return f, nil
}

// ended reads until the connection is closed and returns the code.
func (p *peer) ended() (int, error) {
	for {
		_, err := p.next()
		if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
			return closed.Code, p.ws.Close()
		}
		if err != nil {
			return 0, err
		}
	}
}

// crowd connects peers, some at a time; even ones to the first address and odd ones to the second.
func crowd(tb testing.TB, n int, at [2]string, token, address string) []*peer {
	tb.Helper()
	all := make([]*peer, n)
	errs := make(chan error, n)
	var g sync.WaitGroup
	for part := range 32 {
		g.Go(func() {
			for i := part; i < n; i += 32 {
				all[i] = &peer{}
				errs <- all[i].connect(at[i%2], token, address)
			}
		})
	}
	g.Wait()
	tb.Cleanup(func() {
		for _, p := range all {
			_ = p.ws.Close()
		}
	})
	close(errs)
	for err := range errs {
		testkit.Check(tb, err)
	}
	return all
}

// token issues a token for channels.
func (s *system) token(req *authv1.IssueTokenRequest) string {
	s.tb.Helper()
	req.Grants = []*authv1.Grant{{Address: "channels/*", Actions: []authv1.Action{
		authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PUBLISH, authv1.Action_ACTION_HISTORY,
	}}}
	resp, err := s.issuer().IssueToken(s.tb.Context(), req)
	testkit.Check(s.tb, err)
	return resp.GetToken()
}

func (s *system) issuer() authv1.AuthServiceClient {
	return authv1.NewAuthServiceClient(apptest.Dial(s.tb, s.authAt, s.apiKey))
}

// percentile returns the value that this part of the values does not exceed.
func percentile(all []time.Duration, part float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(part*float64(len(sorted))))].Round(10 * time.Microsecond)
}
