package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/trunkline/trunkline/bench/load"
)

func socketios() []Target {
	return []Target{{
		"socketio-redis", "Socket.IO 4 with the Redis adapter, WebSocket only, back end by HTTP",
		[]Feature{Fanout, Unary, Connect, Mixed},
		startSocketIO,
	}}
}

type socketio struct {
	group
	issuer
	plain
	http, control string
	client        *http.Client
}

func startSocketIO(ctx context.Context, env Env) (_ System, err error) {
	s := &socketio{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if err := install(ctx, env.SocketIO); err != nil {
		return nil, err
	}
	if s.issuer, err = newIssuer(); err != nil {
		return nil, err
	}
	at, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	s.http, s.control = at[0], at[1]
	addr, err := s.redis()
	if err != nil {
		return nil, err
	}
	p, err := start("socketio", "node", filepath.Join(env.SocketIO, "server.js"), at[0], at[1], addr, s.public)
	if err != nil {
		return nil, err
	}
	s.procs = append([]*Process{p}, s.procs...)
	for _, a := range at {
		if err := waitTCP(a); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// install gets the packages of the lock when they are not there.
func install(ctx context.Context, folder string) error {
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "socket.io")); err == nil {
		return nil
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("install Socket.IO: %w: %s", err, out)
	}
	return nil
}

func (s *socketio) Addr() string { return s.http }

// Script is Engine.IO's open packet, then Socket.IO's connect with token and rooms.
func (s *socketio) Script(i int, join Join) load.Script {
	rooms := join.Channels
	if join.Client {
		rooms = append(rooms[:len(rooms):len(rooms)], s.Address(Client, i))
	}
	hello, err := json.Marshal(map[string]any{"token": s.tokens[i], "rooms": rooms})
	if err != nil {
		panic(err)
	}
	return load.Script{
		Request: load.Upgrade(s.http, "/socket.io/?EIO=4&transport=websocket", ""),
		Steps: []load.Step{
			{Expect: []string{`0{"sid"`}},
			{Send: load.Frame(1, append([]byte("40"), hello...)), Expect: []string{`40{"sid"`}},
		},
		Refused: `44{`,
	}
}

func (s *socketio) Publisher(context.Context, int) (Publisher, error) { return &poster{s}, nil }

func (s *socketio) Stop() {
	s.client.CloseIdleConnections()
	s.group.Stop()
}

type poster struct{ s *socketio }

func (p *poster) Publish(ctx context.Context, m Message) error {
	body := fmt.Appendf(nil, `{"to":%q,"data":%s}`, m.To, m.Data)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.s.control+"/", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	resp, err := p.s.client.Do(req)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return errors.New("publish: " + resp.Status)
	}
	return nil
}

func (*poster) Batch(context.Context, []Message) error { return ErrUnsupported }

func (*poster) Stream(context.Context) (Pipe, error) { return nil, ErrUnsupported }

func (*poster) Last() Position { return Position{} }
