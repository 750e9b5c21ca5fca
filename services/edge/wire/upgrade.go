package wire

import (
	"bufio"
	"net"
	"net/http"

	"github.com/gorilla/websocket"
)

// Upgrade answers a handshake and takes its connection over. The client's messages may have as many bytes as the limit.
// After an error the connection is of no use.
func (c *Conn) Upgrade(w http.ResponseWriter, r *http.Request, header http.Header, limit int64) error {
	ws, err := c.sockets.upgrader.Upgrade(&hijacker{ResponseWriter: w, conn: c}, r, header)
	if err != nil {
		return err
	}
	c.ws = ws
	c.heard.Store(true) // the handshake: a client that says nothing after it is pinged before it counts as gone
	ws.SetReadLimit(limit)
	ws.SetPingHandler(c.pinged)
	ws.SetPongHandler(c.ponged)
	ws.SetCloseHandler(c.closing)
	return nil
}

// hijacker hands gorilla the Conn instead of the bare connection.
type hijacker struct {
	http.ResponseWriter
	conn *Conn
}

// Hijack takes the connection over from net/http.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn.take(conn)
	return h.conn, rw, nil
}

// pinged answers a client's ping.
func (c *Conn) pinged(payload string) error {
	c.heard.Store(true)
	if c.handler.Ping() {
		c.answer(controlFrame(opPong, []byte(payload)))
	}
	return nil
}

func (c *Conn) ponged(string) error {
	c.heard.Store(true)
	return nil
}

// closing answers a client's close frame (RFC 6455, section 5.5.1).
func (c *Conn) closing(code int, text string) error {
	// gorilla takes a payload that is too short for a code for none.
	if code == websocket.CloseNoStatusReceived && c.incoming.length != 0 {
		c.Finish(CloseFrame(websocket.CloseProtocolError, ""))
		return errClose
	}
	c.Finish(CloseFrame(c.handler.Closing(code, text)))
	return nil
}

// Left says whether the error that ended a connection is a client's goodbye.
func Left(err error) bool {
	return websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived)
}
