package quota_test

import (
	"fmt"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/quota"
	"github.com/trunkline/trunkline/internal/testkit"
)

// Accounts, the addresses that they made and the shares of the log keep nothing of the frames that named them.
func TestQuotas_keepCopies(t *testing.T) {
	q, _ := open(t, quota.Config{})
	shares := quota.SharesOfLog(1000, nil)
	testkit.KeepsCopies(t, []any{q, shares}, func(i int, in *testkit.Input) {
		for _, kind := range []bus.AccountKind{bus.AccountUser, bus.AccountClient} {
			by := bus.Account{Kind: kind, Name: in.Cut(fmt.Sprint(i))}
			to, err := bus.ParseAddress(in.Cut(fmt.Sprint("channels/new:", i)))
			testkit.Check(t, err)
			testkit.Check(t, q.Charge(by, bus.Charge{Messages: 1, Address: to}))
		}
		shares.Take(in.Cut(fmt.Sprint(i)), 1)
	})
	if accounts, _ := q.Sizes(); accounts != 2000 {
		t.Errorf("%d accounts are remembered", accounts)
	}
}
