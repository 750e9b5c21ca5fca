package occupancy_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/occupancy"
	"github.com/trunkline/trunkline/internal/testkit"
)

// refused checks that a holder may open nothing, for the reason that a setting gives.
func refused(t *testing.T, c *occupancy.Counter, h occupancy.Opener, setting string) {
	t.Helper()
	var e *bus.Error
	if err := c.Enter(h); !errors.As(err, &e) || !errors.Is(err, bus.ErrConnectionLimit) || e.Metadata["rule"] != setting || e.RetryAfter == 0 {
		t.Errorf("%+v: got %v, want a refusal by %s", h, err, setting)
	}
}

// Each kind of holder has a limit of its own, and a refusal counts for none of them.
func TestCounter_limitsEachKind(t *testing.T) {
	c := occupancy.New(occupancy.Limits{
		Token: occupancy.Limit{Most: 2, Setting: "token"}, User: occupancy.Limit{Most: 3, Setting: "user"},
		Key: occupancy.Limit{Most: 1, Setting: "key"}, IP: occupancy.Limit{Most: 4, Setting: "ip"},
	})
	first, second := occupancy.Opener{Token: "1", User: "ada", IP: "a"}, occupancy.Opener{Token: "2", User: "ada", IP: "a"}
	testkit.Check(t, errors.Join(c.Enter(first), c.Enter(first)))
	refused(t, c, first, "token")
	testkit.Check(t, c.Enter(second))
	refused(t, c, second, "user")
	testkit.Check(t, c.Enter(occupancy.Opener{Key: "backend", IP: "a"}))
	refused(t, c, occupancy.Opener{Key: "backend"}, "key")
	refused(t, c, occupancy.Opener{Token: "9", User: "bob", IP: "a"}, "ip")
	testkit.Check(t, c.Enter(occupancy.Opener{Token: "9", User: "bob", IP: "b"}))
	c.Leave(first)
	testkit.Check(t, c.Enter(second))
	for _, h := range []occupancy.Opener{first, second, second, {Key: "backend", IP: "a"}, {Token: "9", User: "bob", IP: "b"}} {
		c.Leave(h)
	}
	if n := c.Holders(); n != 0 {
		t.Errorf("%d names are remembered of nobody", n)
	}
}

// A token without a number is told from others, and one without a user counts for its client.
func TestOf_everyTokenIsCounted(t *testing.T) {
	at := time.Unix(1, 0)
	a, b := occupancy.Of(&bus.Identity{Client: "c", Expires: at}), occupancy.Of(&bus.Identity{Client: "c", Expires: at.Add(1)})
	if a.Token == "" || a.Token == b.Token || a.User != "" || a.Client != "c" {
		t.Errorf("got %+v and %+v", a, b)
	}
	if h := occupancy.Of(&bus.Identity{Client: "c", User: "ada", TokenID: "7"}); h != (occupancy.Opener{Token: "7", User: "ada"}) {
		t.Errorf("got %+v", h)
	}
}

func TestCounter_concurrently(t *testing.T) {
	c := occupancy.New(occupancy.Limits{User: occupancy.Limit{Most: 5}})
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 200 {
				if h := (occupancy.Opener{User: "ada"}); c.Enter(h) == nil {
					c.Leave(h)
				}
			}
		})
	}
	all.Wait()
	if n := c.Holders(); n != 0 {
		t.Errorf("%d names are left", n)
	}
	var none *occupancy.Counter
	testkit.Check(t, none.Enter(occupancy.Opener{User: "ada"}))
	none.Leave(occupancy.Opener{User: "ada"})
}
