package links //nolint:testpackage // it makes a feed that is not connected

import (
	"fmt"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

// A feed keeps copies of the addresses that it was asked for.
func TestFeed_keepsCopies(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1"}) // nothing is asked of it before Run
	t.Cleanup(func() { _ = client.Close() })
	f := New(plain(client))
	testkit.KeepsCopies(t, f, func(i int, in *testkit.Input) {
		a, err := bus.ParseAddress(in.Cut(fmt.Sprint("channels/c", i)))
		testkit.Check(t, err)
		f.enter(a)
	})
}
