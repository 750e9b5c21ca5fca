package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"

	"github.com/trunkline/trunkline/bench/load"
)

func limits() []Target {
	var list []Target
	for _, l := range []struct{ mode, about string }{
		{"prepared", "bare limit: gorilla, one prepared message to all, one write each, no token"},
		{"bytes", "bare limit: framed bytes, one write each, no token"},
		{"null", "writes frames as fast as it can, a batch in one write: shows that the load is no limit"},
	} {
		features := []Feature{Fanout, Unary, Connect}
		if l.mode == "null" {
			features = []Feature{Generator}
		}
		list = append(list, Target{"limit-" + l.mode, l.about, features, func(context.Context, Env) (System, error) { return startLimit(l.mode) }})
	}
	return list
}

// limit is a server of ours that does no more than it must.
type limit struct {
	group
	plain
	http, control string
}

func startLimit(mode string) (_ System, err error) {
	at, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	p, err := start("limit-"+mode, self(), "serve-limit", "-mode", mode, "-http", at[0], "-control", at[1])
	if err != nil {
		return nil, err
	}
	l := &limit{group: group{procs: []*Process{p}}, http: at[0], control: at[1]}
	for _, a := range at {
		if err := waitTCP(a); err != nil {
			l.Stop()
			return nil, err
		}
	}
	return l, nil
}

func (*limit) Tokens(context.Context, int) error { return nil }

func (l *limit) Addr() string { return l.http }

// Script names the channel in the URL; a connected client is subscribed.
func (l *limit) Script(i int, join Join) load.Script {
	ch := l.Address(Client, i)
	if len(join.Channels) > 0 {
		ch = join.Channels[0]
	}
	return load.Script{Request: load.Upgrade(l.http, "/?ch="+ch, "")}
}

func (l *limit) Publisher(ctx context.Context, _ int) (Publisher, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.control)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	return &line{w: bufio.NewWriterSize(conn, 64<<10)}, nil
}

// line is a publisher over TCP without answers: count of messages, then each with the lengths of address and data in front.
type line struct {
	w *bufio.Writer
}

func (l *line) Publish(ctx context.Context, m Message) error { return l.Batch(ctx, []Message{m}) }

func (l *line) Batch(_ context.Context, all []Message) error {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(all))) //nolint:gosec // short
	for _, m := range all {
		b = binary.BigEndian.AppendUint32(b, uint32(len(m.To)))   //nolint:gosec // short
		b = binary.BigEndian.AppendUint32(b, uint32(len(m.Data))) //nolint:gosec // short
		b = append(append(b, m.To...), m.Data...)
	}
	if _, err := l.w.Write(b); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return l.w.Flush()
}

func (*line) Stream(context.Context) (Pipe, error) { return nil, ErrUnsupported }

func (*line) Last() Position { return Position{} }
