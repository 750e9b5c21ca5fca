package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/judge"
)

// position is a position as JSON has it.
type position struct {
	Epoch  string `json:"epoch,omitempty"`
	Offset string `json:"offset,omitempty"`
}

func (p *position) judge() judge.Position {
	if p == nil {
		return judge.Position{}
	}
	n, _ := strconv.ParseUint(p.Offset, 10, 64)
	return judge.Position{Epoch: p.Epoch, Seq: n}
}

func wire(p judge.Position) *position {
	if p.Epoch == "" {
		return nil
	}
	w := &position{Epoch: p.Epoch}
	if p.Seq > 0 {
		w.Offset = strconv.FormatUint(p.Seq, 10)
	}
	return w
}

// frame is what a server sends, as far as the workload reads it.
type frame struct {
	ID        uint32
	Message   *received
	Connected *struct {
		Connection    string
		Subscriptions []struct {
			Subscribed *subscribed
			Error      *failure
		}
		Own []owned
	}
	Subscribed *subscribed
	Published  *struct {
		Position  position
		Duplicate bool
	}
	Gap   *told
	Acked *struct {
		Acked   int
		Refused []struct{ ID string }
	}
	Error *failure
}

type received struct {
	ID, To      string
	Data        string
	Position    position
	Redelivered bool
	AckRequired bool
}

type subscribed struct {
	Address   string
	Position  *position
	Recovered bool
}

type told struct {
	Address   string
	After, To *position
	Reason    string
}

type owned struct {
	Address  string    `json:"address"`
	Position *position `json:"position,omitempty"`
}

type failure struct {
	Code       int
	Reason     string
	Message    string
	RetryDelay string
}

func (f *failure) Error() string { return f.Reason + ": " + f.Message }

// command is a frame of a client.
type command struct {
	ID      uint32         `json:"id"`
	Connect *connect       `json:"connect,omitempty"`
	Publish map[string]any `json:"publish,omitempty"`
	Ack     *ack           `json:"ack,omitempty"`
}

type connect struct {
	Token         string      `json:"token"`
	Subscriptions []subscribe `json:"subscriptions,omitempty"`
	Own           []owned     `json:"own,omitempty"`
}

type subscribe struct {
	Address string    `json:"address"`
	After   *position `json:"after,omitempty"`
}

type ack struct {
	Address string   `json:"address"`
	IDs     []string `json:"ids"`
}

// open dials an edge and connects.
func open(ctx context.Context, addr string, c connect) (*websocket.Conn, *frame, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	d := websocket.Dialer{HandshakeTimeout: 3 * time.Second, Subprotocols: []string{"trunkline.v1.json"}}
	conn, resp, err := d.DialContext(ctx, "ws://"+addr+"/v1/ws", nil)
	if err != nil {
		return nil, nil, fmt.Errorf("dial: %w", err)
	}
	_ = resp.Body.Close()
	deadline, _ := ctx.Deadline()
	_, _ = conn.SetReadDeadline(deadline), conn.SetWriteDeadline(deadline)
	if err := conn.WriteJSON(command{ID: 1, Connect: &c}); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	f, err := read(conn)
	if err == nil && f.Connected == nil {
		err = errors.New("the answer to connect is another frame")
		if f.Error != nil {
			err = f.Error
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	_, _ = conn.SetReadDeadline(time.Time{}), conn.SetWriteDeadline(time.Time{})
	return conn, f, nil
}

// read reads the next frame.
func read(conn *websocket.Conn) (*frame, error) {
	_, b, err := conn.ReadMessage()
	if err != nil {
		return nil, err
	}
	var f frame
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("read %q: %w", b, err)
	}
	return &f, nil
}
