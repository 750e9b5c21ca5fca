package peer

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/trunkline/trunkline/bench/load"
)

func natses() []Target {
	return []Target{{
		"nats", "nats-server, embedded, WebSocket, no token, no answer to a publish",
		[]Feature{Fanout, Unary, Connect, Mixed},
		func(context.Context, Env) (System, error) { return startNATS() },
	}}
}

type nats struct {
	group
	http, tcp string
}

func startNATS() (System, error) {
	at, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	p, err := start("nats", self(), "serve-nats", "-http", at[0], "-tcp", at[1])
	if err != nil {
		return nil, err
	}
	n := &nats{group: group{procs: []*Process{p}}, http: at[0], tcp: at[1]}
	for _, a := range at {
		if err := waitTCP(a); err != nil {
			n.Stop()
			return nil, err
		}
	}
	return n, nil
}

// ServeNATS is nats-server with its defaults and a WebSocket listener.
func ServeNATS(args []string) error {
	flags := flag.NewFlagSet("serve-nats", flag.ExitOnError)
	httpAt := flags.String("http", "", "where WebSockets are served")
	tcpAt := flags.String("tcp", "", "where publishers connect")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o := &server.Options{NoLog: true, NoSigs: true}
	var err error
	split := func(addr string) (string, int) {
		host, port, e := net.SplitHostPort(addr)
		n, e2 := strconv.Atoi(port)
		if e != nil || e2 != nil {
			err = fmt.Errorf("%q is no address", addr)
		}
		return host, n
	}
	o.Host, o.Port = split(*tcpAt)
	o.Websocket.Host, o.Websocket.Port = split(*httpAt)
	o.Websocket.NoTLS = true
	if err != nil {
		return err
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	s.WaitForShutdown()
	return nil
}

func (*nats) Tokens(context.Context, int) error { return nil }

func (n *nats) Addr() string { return n.http }

// Address is a subject.
func (*nats) Address(kind Kind, n int) string {
	return strings.ReplaceAll(plain{}.Address(kind, n), ":", ".")
}

// Script sends everything at once; PONG says that the server has it.
func (n *nats) Script(i int, join Join) load.Script {
	b := []byte("CONNECT {\"verbose\":false,\"pedantic\":false,\"protocol\":1}\r\n")
	channels := join.Channels
	if join.Client {
		channels = append(channels[:len(channels):len(channels)], n.Address(Client, i))
	}
	for k, ch := range channels {
		b = fmt.Appendf(b, "SUB %s %d\r\n", ch, k+1)
	}
	return load.Script{
		Request: load.Upgrade(n.http, "/", ""),
		Steps:   []load.Step{{Send: load.Frame(2, append(b, "PING\r\n"...)), Expect: []string{"PONG"}}},
		Refused: "-ERR",
	}
}

func (n *nats) Publisher(ctx context.Context, _ int) (Publisher, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", n.tcp)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	p := &natsLine{w: bufio.NewWriterSize(conn, 64<<10)}
	_, err = conn.Write([]byte("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n"))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	r := bufio.NewReader(conn)
	for {
		text, err := r.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		if bytes.HasPrefix(text, []byte("PONG")) {
			return p, nil
		}
	}
}

// natsLine publishes without answers. A run is shorter than the server's interval of pings, so nothing is read.
type natsLine struct {
	w *bufio.Writer
}

func (p *natsLine) Publish(ctx context.Context, m Message) error { return p.Batch(ctx, []Message{m}) }

func (p *natsLine) Batch(_ context.Context, all []Message) error {
	for _, m := range all {
		if _, err := fmt.Fprintf(p.w, "PUB %s %d\r\n%s\r\n", m.To, len(m.Data), m.Data); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	return p.w.Flush()
}

func (*natsLine) Stream(context.Context) (Pipe, error) { return nil, ErrUnsupported }

func (*natsLine) Last() Position { return Position{} }
