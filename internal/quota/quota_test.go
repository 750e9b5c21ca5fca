package quota_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/quota"
	"github.com/trunkline/trunkline/internal/testkit"
)

var (
	ada = bus.Account{Kind: bus.AccountUser, Name: "ada"}
	bob = bus.Account{Kind: bus.AccountUser, Name: "bob"}
)

// clock is a time that a test moves.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time       { return time.Unix(1_800_000_000, c.at.Load()) }
func (c *clock) pass(d time.Duration) { c.at.Add(int64(d)) }

func open(t testing.TB, cfg quota.Config) (*quota.Quotas, *clock) {
	c := &clock{}
	cfg.Now = c.now
	q, err := quota.New(cfg, prometheus.NewRegistry())
	testkit.Check(t, err)
	return q, c
}

func address(t testing.TB, name string) bus.Address {
	a, err := bus.NewAddress(bus.KindChannels, name)
	testkit.Check(t, err)
	return a
}

// Every limit is one account's own, is refused with its setting and a time to come back, and comes back by then.
func TestCharge_everyLimit(t *testing.T) {
	small := quota.Allowance{
		Messages: 3, Bytes: 3, IdempotencyKeys: 3, Subscriptions: 3, Addresses: 3, Tokens: 3, Revocations: 3, Channels: 3,
	}
	n := 0
	for setting, charge := range map[string]func() bus.Charge{
		"quotas.client.messages_per_minute":         func() bus.Charge { return bus.Charge{Messages: 1} },
		"quotas.client.bytes_per_minute":            func() bus.Charge { return bus.Charge{Bytes: 1} },
		"quotas.client.idempotency_keys_per_minute": func() bus.Charge { return bus.Charge{IdempotencyKeys: 1} },
		"quotas.client.subscriptions_per_minute":    func() bus.Charge { return bus.Charge{Subscriptions: 1} },
		"quotas.client.tokens_per_hour":             func() bus.Charge { return bus.Charge{Tokens: 1} },
		"quotas.client.revocations_per_hour":        func() bus.Charge { return bus.Charge{Revocations: 1} },
		"quotas.client.channels_per_hour":           func() bus.Charge { return bus.Charge{Channels: 1} },
		"quotas.client.addresses_per_hour": func() bus.Charge {
			n++
			return bus.Charge{Address: address(t, fmt.Sprint("new:", n))}
		},
	} {
		q, c := open(t, quota.Config{Client: small})
		for range 3 {
			testkit.Check(t, q.Charge(ada, charge()))
		}
		err := q.Charge(ada, charge())
		var e *bus.Error
		if !errors.As(err, &e) || !errors.Is(err, bus.ErrQuotaExceeded) || e.Metadata["setting"] != setting || e.Metadata["limit"] != "3" || e.RetryAfter <= 0 {
			t.Errorf("%s: %#v", setting, err)
			continue
		}
		testkit.Check(t, q.Charge(bob, charge()))
		testkit.Check(t, q.Charge(bus.Account{Kind: bus.AccountClient, Name: "ada"}, charge()))
		testkit.Check(t, q.Charge(bus.Account{Kind: bus.AccountKey, Name: "ada"}, charge()))
		c.pass(e.RetryAfter)
		testkit.Check(t, q.Charge(ada, charge()))
		if err := q.Charge(ada, charge()); !errors.Is(err, bus.ErrQuotaExceeded) {
			t.Errorf("%s: more than has come back: %v", setting, err)
		}
	}
}

// Callers of whom not even the address is known are many people, so one of them does not use up the allowance of a client.
func TestAccount_ofStrangersIsLarge(t *testing.T) {
	if a := (bus.Author{}).Account(); a.Kind != bus.AccountKey {
		t.Errorf("strangers share the account of one %s", a.Kind)
	}
	if a := (bus.Author{Sender: bus.Sender{Client: "c"}}).Account(); a.Kind != bus.AccountClient {
		t.Errorf("a client has the account of a %s", a.Kind)
	}
}

// An address costs once, whoever meets it first. What is refused costs nothing.
func TestCharge_knownAddressesAreFree(t *testing.T) {
	q, _ := open(t, quota.Config{Client: quota.Allowance{Addresses: 2, Messages: 100}})
	a, b, c := address(t, "a"), address(t, "b"), address(t, "c")
	for range 5 {
		testkit.Check(t, q.Charge(ada, bus.Charge{Messages: 1, Address: a}))
	}
	testkit.Check(t, q.Charge(ada, bus.Charge{Messages: 1, Address: b}))
	if err := q.Charge(ada, bus.Charge{Messages: 1, Address: c}); !errors.Is(err, bus.ErrQuotaExceeded) {
		t.Errorf("a third one: %v", err)
	}
	testkit.Check(t, q.Charge(bob, bus.Charge{Messages: 1, Address: c}))
	testkit.Check(t, q.Charge(ada, bus.Charge{Messages: 94, Address: c})) // the refused one was not taken
	if err := q.Charge(ada, bus.Charge{Messages: 1}); !errors.Is(err, bus.ErrQuotaExceeded) {
		t.Errorf("more than all messages: %v", err)
	}
}

// What is larger than the whole allowance passes when nothing was used, and not before.
func TestCharge_largerThanTheAllowance(t *testing.T) {
	q, c := open(t, quota.Config{Client: quota.Allowance{Bytes: 100}})
	testkit.Check(t, q.Charge(ada, bus.Charge{Bytes: 500}))
	if err := q.Charge(ada, bus.Charge{Bytes: 500}); !errors.Is(err, bus.ErrQuotaExceeded) {
		t.Error(err)
	}
	c.pass(5 * time.Minute)
	testkit.Check(t, q.Charge(ada, bus.Charge{Bytes: 500}))
}

// The tables have bounds: many accounts and addresses cost no more memory than so many.
func TestCharge_tablesAreBounded(t *testing.T) {
	q, _ := open(t, quota.Config{Client: quota.Allowance{Addresses: 1_000_000}, Accounts: 160, Addresses: 1600})
	for i := range 20_000 {
		who := bus.Account{Kind: bus.AccountUser, Name: fmt.Sprint(i)}
		testkit.Check(t, q.Charge(who, bus.Charge{Address: address(t, fmt.Sprint(i))}))
	}
	if accounts, addresses := q.Sizes(); accounts > 160 || addresses > 1600 || accounts < 100 || addresses < 400 {
		t.Errorf("%d accounts, %d addresses", accounts, addresses)
	}
}

// Callers at the same time share one allowance.
func TestCharge_concurrently(t *testing.T) {
	q, _ := open(t, quota.Config{Client: quota.Allowance{Messages: 1000}})
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				if q.Charge(ada, bus.Charge{Messages: 1, Address: address(t, fmt.Sprint(i%50))}) == nil {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := passed.Load(); n != 1000 {
		t.Errorf("%d passed", n)
	}
}

// A charge allocates nothing for an account and an address that are known.
func TestCharge_allocatesNothing(t *testing.T) {
	q, _ := open(t, quota.Config{})
	charge := bus.Charge{Messages: 1, Bytes: 100, Address: address(t, "a")}
	testkit.Check(t, q.Charge(ada, charge))
	if n := testing.AllocsPerRun(1000, func() { _ = q.Charge(ada, charge) }); n > 0 {
		t.Errorf("%g allocations", n)
	}
}

func TestMetrics_count(t *testing.T) {
	reg := prometheus.NewRegistry()
	q, err := quota.New(quota.Config{Client: quota.Allowance{Messages: 1}}, reg)
	testkit.Check(t, err)
	testkit.Check(t, q.Charge(ada, bus.Charge{Messages: 1, Bytes: 7}))
	if err := q.Charge(ada, bus.Charge{Messages: 1}); err == nil {
		t.Fatal("not refused")
	}
	families, err := reg.Gather()
	testkit.Check(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] += m.GetCounter().GetValue()
		}
	}
	if got["trunkline_quota_used_total"] != 8 || got["trunkline_quota_refusals_total"] != 1 {
		t.Error(got)
	}
}

func BenchmarkCharge(b *testing.B) {
	q, _ := open(b, quota.Config{Client: quota.Allowance{Messages: 1 << 60, Bytes: 1 << 60, Addresses: 1 << 40}})
	charge := bus.Charge{Messages: 1, Bytes: 100, Address: address(b, "a")}
	for b.Loop() {
		if err := q.Charge(ada, charge); err != nil {
			b.Fatal(err)
		}
	}
}

// A namespace gets so many new addresses from everybody together. Others go on, and so does everybody with addresses that are known.
func TestCharge_namespaces(t *testing.T) {
	q, c := open(t, quota.Config{
		Client: quota.Allowance{Messages: 5},
		Namespaces: bus.Namespaces{
			Default: bus.Namespace{AddressesPerHour: 4},
			Named:   map[string]bus.Namespace{"few": {AddressesPerHour: 2}, "free": {}},
		},
	})
	charge := func(who bus.Account, a string) error {
		return q.Charge(who, bus.Charge{Address: address(t, a), Messages: 1, Bytes: 10})
	}
	testkit.Check(t, charge(ada, "few:1"))
	testkit.Check(t, charge(bob, "few:2"))
	err := charge(bob, "few:3")
	var e *bus.Error
	if !errors.As(err, &e) || !errors.Is(err, bus.ErrQuotaExceeded) || e.Metadata["setting"] != "channels.namespaces.few.addresses_per_hour" ||
		e.Metadata["account"] != "namespace" || e.RetryAfter != 30*time.Minute+time.Millisecond {
		t.Fatalf("the third address is answered with %v, %v", err, e)
	}
	testkit.Check(t, charge(bob, "few:1"))
	testkit.Check(t, charge(bob, "free:1"))
	carol := bus.Account{Kind: bus.AccountUser, Name: "carol"}
	for i := range 4 { // of two namespaces that are not named
		testkit.Check(t, charge(carol, fmt.Sprintf("x%d:%d", i%2, i)))
	}
	if err = charge(carol, "y:5"); !errors.As(err, &e) || e.Metadata["setting"] != "channels.defaults.addresses_per_hour" {
		t.Errorf("the fifth address of the others is answered with %v", err)
	}
	c.pass(31 * time.Minute)
	testkit.Check(t, charge(ada, "few:4"))
	// A call that its account cannot pay takes nothing from the namespace.
	c.pass(30 * time.Minute)
	for range 5 {
		testkit.Check(t, charge(carol, "free:1"))
	}
	for i := range 20 {
		if err = charge(carol, fmt.Sprint("few:none", i)); !errors.As(err, &e) || e.Metadata["account"] != "user" {
			t.Fatalf("carol, who has sent all she may, is answered with %v", err)
		}
	}
	testkit.Check(t, charge(bob, "few:6"))
}

// However many namespaces callers name, metrics have one line for each that is configured, for all others and for each kind.
func TestMetrics_namespaces(t *testing.T) {
	reg := prometheus.NewRegistry()
	q, err := quota.New(quota.Config{Namespaces: bus.Namespaces{Named: map[string]bus.Namespace{"news": {}}}}, reg)
	testkit.Check(t, err)
	for i := range 100 {
		testkit.Check(t, q.Charge(ada, bus.Charge{Address: address(t, fmt.Sprintf("x%d:a", i)), Bytes: 3}))
		testkit.Check(t, q.Charge(ada, bus.Charge{Address: address(t, "news:a"), Bytes: 2}))
	}
	user, err := bus.NewAddress(bus.KindUsers, "ada")
	testkit.Check(t, err)
	testkit.Check(t, q.Charge(ada, bus.Charge{Address: user, Bytes: 1}))
	all, err := reg.Gather()
	testkit.Check(t, err)
	got := map[string]float64{}
	for _, family := range all {
		for _, m := range family.GetMetric() {
			if len(m.GetLabel()) == 1 && m.GetCounter().GetValue() > 0 {
				got[family.GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	for name, want := range map[string]float64{
		"trunkline_namespace_addresses_total news": 1, "trunkline_namespace_addresses_total (others)": 100, "trunkline_namespace_addresses_total (users)": 1,
		"trunkline_namespace_bytes_total news": 200, "trunkline_namespace_bytes_total (others)": 300, "trunkline_namespace_bytes_total (users)": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if len(got) != 6 {
		t.Errorf("metrics are %v", got)
	}
}

// A user has a share of the log of events, all of an event or nothing, whatever others do.
func TestShares(t *testing.T) {
	untold, reg := prometheus.NewCounter(prometheus.CounterOpts{Name: "untold_total", Help: "."}), prometheus.NewRegistry()
	reg.MustRegister(untold)
	s := quota.SharesOfLog(10, untold)
	told := map[string]int{}
	for range 100 {
		for _, user := range []string{"mallory", "ada"} {
			if s.Take(user, 3) {
				told[user]++
			}
		}
	}
	all, err := reg.Gather()
	testkit.Check(t, err)
	if n := all[0].GetMetric()[0].GetCounter().GetValue(); told["mallory"] != 3 || told["ada"] != 3 || n != 2*97*3 {
		t.Errorf("%v are told, and %v events are not", told, n)
	}
	if none := quota.SharesOfLog(0, untold); !none.Take("mallory", 1_000_000) {
		t.Error("no limit is one")
	}
}

// Strangers of many addresses make nobody's account forgotten, and are no more accounts than are remembered.
func TestCharge_strangersPushOutNobody(t *testing.T) {
	q, _ := open(t, quota.Config{Client: quota.Allowance{Messages: 1}, Stranger: quota.Allowance{Messages: 1}, Accounts: 160})
	testkit.Check(t, q.Charge(ada, bus.Charge{Messages: 1}))
	for i := range 10_000 {
		from := bus.Author{Peer: fmt.Sprintf("2001:db8:%x::/64", i)}.Account()
		testkit.Check(t, q.Charge(from, bus.Charge{Messages: 1}))
		if err := q.Charge(from, bus.Charge{Messages: 1}); !errors.Is(err, bus.ErrQuotaExceeded) {
			t.Fatalf("the second message of an address: %v", err)
		}
	}
	if err := q.Charge(ada, bus.Charge{Messages: 1}); !errors.Is(err, bus.ErrQuotaExceeded) {
		t.Errorf("the account of a user was forgotten: %v", err)
	}
	if accounts, _ := q.Sizes(); accounts > 161 {
		t.Errorf("%d accounts are remembered", accounts)
	}
}
