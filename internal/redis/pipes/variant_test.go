package pipes //nolint:testpackage // variants are private to the package

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// A variant does what its script does where a slot is importing. That holds with keys that are missing, in commands with several
// of them, and with errors. The variant also tells what was pushed.
func TestVariant_answersAsItsScript(t *testing.T) {
	c := redistest.StartCluster(t)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.Servers[0].Addr()}})
	defer func() { _ = client.Close() }()
	m := c.Begin("tl:{v}:a")
	target := redis.NewClient(&redis.Options{Addr: m.To.Addr()})
	defer func() { _ = target.Close() }()
	p := &Pipes{cfg: Config{Never: func(beside string) string { return server.Tag(beside) + ":-" }}}
	n := 0
	for _, row := range []struct {
		body   string
		want   string
		pushes int
	}{
		{body: "return redis.call('SET', KEYS[1], ARGV[1])", want: "OK"},
		{body: "return redis.call('GET', KEYS[1])", want: "arg"},
		{body: "return redis.call('MGET', KEYS[1], KEYS[2])", want: "[arg <nil>]"},
		{body: "return redis.call('EXISTS', KEYS[1], KEYS[2])", want: "1"},
		{body: "redis.call('SPUBLISH', KEYS[2], 'x') return redis.call('DEL', KEYS[1], KEYS[2])", want: "1", pushes: 1},
		{body: "return redis.call('GET', KEYS[1])", want: "redis: nil"},
		{body: "redis.call('HSET', KEYS[1], 'f', 'v') redis.call('PEXPIRE', KEYS[1], 60000) redis.call('RENAME', KEYS[1], KEYS[2]) return {redis.call('HGET', KEYS[2], 'f'), redis.call('EXISTS', KEYS[1]), redis.call('PTTL', KEYS[2]) > 0}", want: "[v 0 1]"},
		{body: "return redis.error_reply('WRONG way')", want: "WRONG way"},
		{body: "return redis.call('GET', KEYS[2])", want: "WRONGTYPE Operation against a key holding the wrong kind of value"},
	} {
		t.Run(row.body, func(t *testing.T) {
			n++
			cmd := redis.NewCmd(t.Context(), "eval", "#!lua\n"+row.body, 3, "tl:{v}:a", "tl:{v}:b", "tl:{v}:-", "arg")
			a := p.askingFor(t.Context(), cmd)
			_, _ = target.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
				_ = pipe.Process(t.Context(), redis.NewStatusCmd(t.Context(), "asking"))
				return pipe.Process(t.Context(), a.sent)
			})
			pushes := a.answer(context.Background())
			got := fmt.Sprint(cmd.Val())
			if cmd.Err() != nil {
				got = cmd.Err().Error()
			}
			if len(got) < len(row.want) || got[:len(row.want)] != row.want || len(pushes) != row.pushes {
				t.Errorf("%s and %d pushes, want %s and %d", got, len(pushes), row.want, row.pushes)
			}
		})
	}
	plain := redis.NewSliceCmd(t.Context(), "mget", "tl:{v}:a", "tl:{v}:c")
	a := p.askingFor(t.Context(), plain)
	_, _ = target.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		_ = pipe.Process(t.Context(), redis.NewStatusCmd(t.Context(), "asking"))
		return pipe.Process(t.Context(), a.sent)
	})
	a.answer(t.Context())
	if plain.Err() != nil || !slices.Equal(plain.Val(), []any{nil, nil}) {
		t.Errorf("mget: %v, %v", plain.Val(), plain.Err())
	}
}
