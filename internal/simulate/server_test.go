package simulate_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// pubsub is the end of Redis that subscription connections talk to. What it says stops where the schedule wants it to.
type pubsub struct {
	mu      sync.Mutex
	conns   []*wireEnd
	running sync.WaitGroup
}

// wireEnd is one connection. Bytes that may pass are written at once, and the others wait.
type wireEnd struct {
	conn     net.Conn
	channels map[string]bool
	out      []byte
	stopped  bool
	pass     int // how many more bytes may pass although it is stopped
	wake     chan struct{}
	gone     bool
}

// dial makes a connection.
func (p *pubsub) dial() net.Conn {
	client, server := net.Pipe()
	c := &wireEnd{conn: server, channels: map[string]bool{}, wake: make(chan struct{}, 1)}
	p.mu.Lock()
	p.conns = append(p.conns, c)
	p.mu.Unlock()
	p.running.Go(func() { p.read(c) })
	p.running.Go(func() { p.write(c) })
	return client
}

// read carries out commands.
func (p *pubsub) read(c *wireEnd) {
	in := bufio.NewReader(c.conn)
	for {
		args, err := command(in)
		p.mu.Lock()
		if err != nil {
			c.gone = true
			c.signal()
			p.mu.Unlock()
			return
		}
		p.do(c, args)
		p.mu.Unlock()
	}
}

func (p *pubsub) do(c *wireEnd, args []string) {
	verb := strings.ToLower(args[0])
	switch verb {
	case "hello":
		c.say("%1\r\n$5\r\nproto\r\n:3\r\n")
	case "info":
		const text = "role:master\r\nmaster_replid:one\r\nconnected_slaves:0\r\n"
		c.say(fmt.Sprintf("$%d\r\n%s\r\n", len(text), text))
	case "subscribe", "unsubscribe":
		for _, channel := range args[1:] {
			c.channels[channel] = verb == "subscribe"
			c.say(fmt.Sprintf(">3\r\n%s%s:1\r\n", bulk(verb), bulk(channel)))
		}
	}
}

// publish pushes a payload to all connections that have the channel.
func (p *pubsub) publish(channel, payload string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if c.channels[channel] && !c.gone {
			c.say(">3\r\n" + bulk("message") + bulk(channel) + bulk(payload))
		}
	}
}

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

func (c *wireEnd) say(text string) {
	c.out = append(c.out, text...)
	c.signal()
}

func (c *wireEnd) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// write writes what may pass.
func (p *pubsub) write(c *wireEnd) {
	for range c.wake {
		for {
			p.mu.Lock()
			n := len(c.out)
			if c.stopped {
				n = min(n, c.pass)
				c.pass -= n
			}
			some, gone := bytes.Clone(c.out[:n]), c.gone
			c.out = c.out[n:]
			p.mu.Unlock()
			if gone {
				_ = c.conn.Close()
				return
			}
			if len(some) == 0 {
				break
			}
			if _, err := c.conn.Write(some); err != nil {
				return
			}
		}
	}
}

// change does something to one of the connections that are open.
func (p *pubsub) change(which int, do func(c *wireEnd)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var open []*wireEnd
	for _, c := range p.conns {
		if !c.gone {
			open = append(open, c)
		}
	}
	if len(open) > 0 {
		c := open[which%len(open)]
		do(c)
		c.signal()
	}
}

// command reads a command.
func command(in *bufio.Reader) ([]string, error) {
	n, err := number(in, '*')
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := number(in, '$')
		if err != nil {
			return nil, err
		}
		text := make([]byte, size+len("\r\n"))
		if _, err := io.ReadFull(in, text); err != nil {
			return nil, err
		}
		args[i] = string(text[:size])
	}
	return args, nil
}

func number(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, fmt.Errorf("a command that begins with %q", line)
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}
