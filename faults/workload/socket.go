package workload

import (
	"context"
	"errors"
	"time"

	"github.com/gorilla/websocket"
)

// socket publishes over a WebSocket, and dials the next edge when it breaks.
type socket struct {
	l     *Load
	who   string
	token string
	conn  *websocket.Conn
	edge  int
	next  uint32
}

func newSocket(l *Load, who string) *socket { return &socket{l: l, who: who, next: 1} }

func (s *socket) publish(ctx context.Context, m message) (answer, error) {
	if s.token == "" {
		token, err := s.l.Token(ctx, s.who, "", 0)
		if err != nil {
			return answer{}, err
		}
		s.token = token
	}
	if s.conn == nil {
		s.edge++
		conn, _, err := open(ctx, s.l.sys.Edges[s.edge%len(s.l.sys.Edges)], connect{Token: s.token})
		if err != nil {
			s.token = "" // it may be what is wrong
			return answer{}, err
		}
		s.conn = conn
	}
	a, err := s.call(ctx, m)
	var final *refusal
	var again *failure
	if err != nil && !errors.As(err, &final) && !errors.As(err, &again) {
		_ = s.conn.Close()
		s.conn = nil
	}
	return a, err
}

func (s *socket) call(ctx context.Context, m message) (answer, error) {
	s.next++
	p := map[string]any{"to": m.to, "data": m.text, "contentType": "CONTENT_TYPE_TEXT", "idempotencyKey": m.key}
	if s.l.o.Durability != 0 {
		p["durability"], p["replicas"] = s.l.o.Durability.String(), s.l.o.Replicas
	}
	deadline, _ := ctx.Deadline()
	_, _ = s.conn.SetReadDeadline(deadline), s.conn.SetWriteDeadline(deadline)
	if err := s.conn.WriteJSON(command{ID: s.next, Publish: p}); err != nil {
		return answer{}, err
	}
	for {
		f, err := read(s.conn)
		switch {
		case err != nil:
			return answer{}, err
		case f.ID != s.next && f.Error == nil:
		case f.Published != nil:
			return answer{f.Published.Position.judge(), f.Published.Duplicate}, nil
		case f.Error != nil && f.ID != s.next: // the connection ends
			return answer{}, errors.New(f.Error.Reason)
		case f.Error != nil && (f.Error.RetryDelay != "" || f.Error.Code == 14 || f.Error.Code == 4 || f.Error.Code == 10):
			return answer{}, f.Error
		case f.Error != nil:
			return answer{}, &refusal{f.Error.Reason}
		}
	}
}

// Close ends the connection.
func (s *socket) Close() error {
	if s.conn == nil {
		return nil
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(time.Second))
	return s.conn.Close()
}
