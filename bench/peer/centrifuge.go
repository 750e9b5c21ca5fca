package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/bench/load"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

func centrifuges() []Target {
	features := []Feature{Unary, Batch, Stream, Recover, Connect, Fanout, Mixed, Nobody}
	var list []Target
	for _, engine := range []string{"redis", "memory"} {
		list = append(list, Target{
			"centrifuge-" + engine, "the centrifuge library, " + engine + " engine, in a small server, JSON clients", features,
			func(_ context.Context, _ Env) (System, error) { return startCentrifuge(engine) },
		})
	}
	return list
}

// issuer signs tokens as Trunkline does, for peers that have no auth service.
type issuer struct {
	key    ed25519.PrivateKey
	public string // base64
	tokens []string
}

func newIssuer() (issuer, error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return issuer{}, fmt.Errorf("make a key: %w", err)
	}
	return issuer{key: key, public: base64.StdEncoding.EncodeToString(pub)}, nil
}

// tokenClaims are in a token: its user, and the channels that it may subscribe to (a prefix each).
type tokenClaims struct {
	jwt.RegisteredClaims
	Channels []string `json:"channels"`
}

func (s *issuer) Tokens(_ context.Context, n int) error {
	s.tokens = make([]string, n)
	for i := range s.tokens {
		who := fmt.Sprintf("client-%d", i)
		var err error
		s.tokens[i], err = jwt.NewWithClaims(jwt.SigningMethodEdDSA, tokenClaims{
			RegisteredClaims: jwt.RegisteredClaims{Subject: who, ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour))},
			Channels:         []string{"live:", "kept:", fmt.Sprintf("client:%d", i)},
		}).SignedString(s.key)
		if err != nil {
			return fmt.Errorf("sign a token: %w", err)
		}
	}
	return nil
}

// plain names destinations for peers that have channels only.
type plain struct{}

func (plain) Address(kind Kind, n int) string {
	return fmt.Sprintf("%s:%d", [...]string{"live", "kept", "client"}[kind], n)
}

type centrifugo struct {
	group
	issuer
	plain
	http, key string
	conns     []*grpc.ClientConn
}

func startCentrifuge(engine string) (_ System, err error) {
	c := &centrifugo{key: "bench"}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	if c.issuer, err = newIssuer(); err != nil {
		return nil, err
	}
	at, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	c.http = at[0]
	args := []string{"serve-centrifuge", "-http", at[0], "-grpc", at[1], "-api-key", c.key, "-jwt-key", c.public}
	if engine == "redis" {
		addr, err := c.redis()
		if err != nil {
			return nil, err
		}
		args = append(args, "-redis", addr)
	}
	p, err := start("centrifuge", self(), args...)
	if err != nil {
		return nil, err
	}
	c.procs = append([]*Process{p}, c.procs...)
	for _, a := range at {
		if err := waitTCP(a); err != nil {
			return nil, err
		}
	}
	c.conns, err = dialAll(at[1])
	return c, err
}

func (c *centrifugo) Addr() string { return c.http }

// Script sends connect and all subscriptions in one frame, so that joining is one round trip, as with Trunkline.
func (c *centrifugo) Script(i int, join Join) load.Script {
	hello := []string{fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, c.tokens[i])}
	want := []string{`"id":1,"connect"`}
	channels := join.Channels
	if join.Client {
		channels = append(channels[:len(channels):len(channels)], c.Address(Client, i))
	}
	for k, ch := range channels {
		id, after := k+2, ""
		if k == 0 && join.After != nil {
			after = fmt.Sprintf(`,"recover":true,"epoch":%q,"offset":%d`, join.After.Epoch, join.After.Offset)
		}
		hello = append(hello, fmt.Sprintf(`{"id":%d,"subscribe":{"channel":%q%s}}`, id, ch, after))
		want = append(want, fmt.Sprintf(`"id":%d,"subscribe"`, id))
	}
	return load.Script{
		Request: load.Upgrade(c.http, "/connection/websocket", ""),
		Steps:   []load.Step{{Send: load.Frame(1, []byte(strings.Join(hello, "\n"))), Expect: want}},
		Refused: `"error"`,
	}
}

func (c *centrifugo) Publisher(_ context.Context, w int) (Publisher, error) {
	return &backend{key: c.key, client: publishv1.NewPublishServiceClient(c.conns[w%len(c.conns)])}, nil
}

func (c *centrifugo) Stop() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.group.Stop()
}
