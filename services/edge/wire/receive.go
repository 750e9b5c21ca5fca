package wire

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// buffer is a message on its way from the reader to the handler.
type buffer = bytes.Buffer

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// largeBuffer is what is not kept for the next message.
const largeBuffer = 64 << 10

func free(b *buffer) {
	if b.Cap() <= largeBuffer {
		b.Reset()
		buffers.Put(b)
	}
}

// Start begins to read, after Upgrade. From now on the Handler is called.
func (c *Conn) Start() { c.sockets.readers.attend(c) }

// receive waits for a message.
func (c *Conn) receive() (int, *buffer, error) {
	op, r, err := c.ws.NextReader()
	if err != nil {
		return 0, nil, err
	}
	c.heard.Store(true)
	b := buffers.Get().(*buffer)
	if _, err := b.ReadFrom(r); err != nil {
		free(b)
		return 0, nil, err
	}
	return op, b, nil
}

// hand hands a message to the handler.
func (c *Conn) hand(op int, b *buffer) {
	c.busy.Store(true)
	c.handler.Receive(op, b.Bytes())
	free(b)
	c.busy.Store(false)
}

// read waits for a message and hands it on. The goroutine is a fresh one, so that an idle connection keeps no more than a small stack.
func (c *Conn) read() {
	op, b, err := c.receive()
	if err != nil {
		c.end(err)
		return
	}
	c.busy.Store(true) // before the goroutine is: somebody may look in between
	go func() {
		c.hand(op, b)
		go c.read()
	}()
}

// end tells the handler that nothing comes any more.
func (c *Conn) end(err error) {
	if errors.Is(err, websocket.ErrReadLimit) {
		// gorilla is silent about a length whose top bit is set; a second close frame it does not send.
		_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseMessageTooBig, ""), time.Now().Add(time.Second))
	}
	c.sockets.readers.forget(c)
	c.handler.Ended(err)
}
