package revoked_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/revoked"
	"github.com/trunkline/trunkline/internal/testkit"
)

// Remembered revocations keep nothing of what they were read from.
func TestFollower_keepsCopies(t *testing.T) {
	f := revoked.New(memory.New(memory.Config{}), revoked.Config{})
	testkit.KeepsCopies(t, f, func(i int, in *testkit.Input) {
		f.Note(bus.Revocation{Kind: in.Cut(bus.SubjectUser), ID: in.Cut(fmt.Sprint(i)), Before: time.Now()})
	})
}
