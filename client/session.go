package client

import (
	"context"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// session is one connection.
type session struct {
	client *Client
	ws     *websocket.Conn

	write sync.Mutex // held while writing a data frame

	mu      sync.Mutex
	next    uint32
	pending map[uint32]*pending
	err     error // why it ended

	token   string         // empty after a connect by ticket; owned by the refresher once the session is open
	expires chan time.Time // of the token, to the refresher
	silence time.Duration  // owned by the reader
}

// pending is a command without an answer.
type pending struct {
	// then is called by the reader before anything that follows the answer.
	then   func(f *edgev1.ServerFrame)
	answer chan *edgev1.ServerFrame
}

// writeTimeout is how long the server may take no byte.
const writeTimeout = 10 * time.Second

// once holds one connection until it ends and says whether the session opened.
func (c *Client) once(ctx context.Context) (opened bool, err error) {
	connect, err := c.credentials(ctx)
	if err != nil {
		return false, err
	}
	dialer := websocket.Dialer{
		HandshakeTimeout: c.cfg.Timeout, TLSClientConfig: c.cfg.TLS, Subprotocols: []string{c.coding.subprotocol()},
		ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
	}
	ws, resp, err := dialer.DialContext(ctx, c.url, userAgent) //nolint:bodyclose // dialError closes it, and a handshake has none
	if err != nil {
		return false, dialError(resp, err)
	}
	ws.SetReadLimit(c.cfg.MaxFrame)
	s := &session{client: c, ws: ws, token: connect.GetToken(), pending: map[uint32]*pending{}, expires: make(chan time.Time, 1)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error {
		<-ctx.Done()
		// A close frame lets the server forget this client at once.
		_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
		return ws.Close()
	})
	g.Go(func() error { return s.refresh(ctx) })
	g.Go(func() error { return s.acknowledge(ctx) })
	err = s.open(connect)
	if err == nil {
		opened = true
		err = s.read()
	} else if connect.GetTicket() != "" {
		err = c.withoutTicket(err)
	}
	c.close(s, err)
	cancel()
	_ = g.Wait()
	return opened, err
}

// open sends connect and reads until its answer.
func (s *session) open(connect *edgev1.Connect) error {
	c := s.client
	s.silence = c.cfg.Timeout
	s.heard()
	wanted := c.wanted()
	s.next = 1
	connect.Name, connect.Subscriptions, connect.Own = c.cfg.Name, wanted, c.places()
	if err := s.send(&edgev1.ClientFrame{Id: 1, Command: &edgev1.ClientFrame_Connect{Connect: connect}}); err != nil {
		return lostError(nil, err)
	}
	ping := s.ws.PingHandler()
	s.ws.SetPingHandler(func(text string) error {
		s.heard()
		return ping(text)
	})
	f, err := s.receive()
	if err != nil {
		return err
	}
	connected := f.GetConnected()
	if connected == nil {
		return &Error{Reason: "PROTOCOL_ERROR", Message: "connect was answered by another frame", Close: websocket.CloseProtocolError}
	}
	if ms := connected.GetPingIntervalMs(); ms > 0 {
		s.silence = 2*time.Duration(ms)*time.Millisecond + c.cfg.Timeout
	}
	s.heard()
	c.keepTicket(connected.GetTicket(), connected.GetTicketExpireTime())
	s.expires <- connected.GetExpireTime().AsTime()
	c.stand(connected.GetOwn(), true)
	s.restored(wanted, connected.GetSubscriptions())
	c.mu.Lock()
	c.session = s
	close(c.opened)
	c.mu.Unlock()
	c.acks.again()
	if c.cfg.OnConnected != nil {
		c.cfg.OnConnected(connected)
	}
	return nil
}

// close unsets the session and ends its commands.
func (c *Client) close(s *session, err error) {
	c.mu.Lock()
	if c.session == s {
		c.session = nil
		c.opened = make(chan struct{})
	}
	c.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	for _, p := range s.pending {
		close(p.answer)
	}
	s.pending = nil
}

func (s *session) heard() { _ = s.ws.SetReadDeadline(time.Now().Add(s.silence)) }

// receive reads frames until one is not the last word of the server.
func (s *session) receive() (*edgev1.ServerFrame, error) {
	var last *Error
	for {
		_, data, err := s.ws.ReadMessage()
		if err != nil {
			return nil, lostError(last, err)
		}
		s.heard()
		f, err := s.client.coding.decode(data)
		if err != nil {
			return nil, &Error{Reason: "PROTOCOL_ERROR", Message: err.Error(), Close: websocket.CloseProtocolError}
		}
		if e := f.GetError(); e != nil && (f.GetId() == 0 || s.client.pendingNone(s, f.GetId())) {
			last = refused(e) // a close frame follows
			continue
		}
		return f, nil
	}
}

// pendingNone says whether nobody waits for the answer.
func (c *Client) pendingNone(s *session, id uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending[id] == nil
}

func (s *session) read() error {
	for {
		f, err := s.receive()
		if err != nil {
			return err
		}
		s.client.handle(s, f)
	}
}

func (s *session) send(f *edgev1.ClientFrame) error {
	data, err := s.client.coding.encode(f)
	if err != nil {
		return err
	}
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.ws.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return s.ws.WriteMessage(s.client.coding.opcode(), data)
}

// refresh replaces the token before it ends.
func (s *session) refresh(ctx context.Context) error {
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case end := <-s.expires:
			left := time.Until(end)
			due = time.After(left - min(left/4, time.Minute))
		case <-due:
			due = nil
			token, err := s.client.cfg.Token(ctx)
			if err != nil || token == s.token {
				continue // the server ends the session, and the next connection asks again
			}
			call, cancel := context.WithTimeout(ctx, s.client.cfg.Timeout)
			if err := s.client.refreshOn(call, s, token); err != nil && ctx.Err() == nil {
				due = time.After(s.client.cfg.Timeout)
			} else {
				s.token = token
			}
			cancel()
		}
	}
}

// post sends a command and waits for nothing; false when the session has ended.
func (s *session) post(f *edgev1.ClientFrame, then func(*edgev1.ServerFrame)) (*pending, bool) {
	p := &pending{then: then, answer: make(chan *edgev1.ServerFrame, 1)}
	s.mu.Lock()
	if s.pending == nil {
		s.mu.Unlock()
		return nil, false
	}
	s.next++
	f.Id = s.next
	s.pending[f.GetId()] = p
	s.mu.Unlock()
	if err := s.send(f); err != nil {
		_ = s.ws.Close() // the reader ends, and Run connects again
	}
	return p, true
}

// repeated says whether a message was had before its log forked, and remembers it.
func (c *Client) repeated(m *publishv1.Message) bool {
	k := c.kept[m.GetTo()]
	if k == nil {
		k = &kept{had: make(map[string]had)}
		c.kept[m.GetTo()] = k
	}
	now := had{m.GetId(), m.GetPosition().GetEpoch()}
	name := now.rest()
	before, ok := k.had[name]
	if ok && before.epoch != now.epoch && before.near(now) {
		return true
	}
	if !ok {
		k.place(name)
	}
	k.had[name] = now
	return false
}
