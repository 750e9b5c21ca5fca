package presence_test

import (
	"fmt"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/presence"
	"github.com/trunkline/trunkline/internal/testkit"
)

// What waits for the end of a beat keeps nothing of what the changes were read from.
func TestGatherer_keepsCopies(t *testing.T) {
	g := presence.New(0, func(*bus.Message) {})
	testkit.KeepsCopies(t, g, func(i int, in *testkit.Input) {
		for _, client := range []string{"ada", "bob"} {
			a, err := bus.ParseAddress(in.Cut(fmt.Sprint("channels/c", i)))
			testkit.Check(t, err)
			g.Add(&bus.Message{
				ID: in.Cut("x"), To: a, Kind: bus.MessagePresence, From: bus.Sender{Client: in.Cut(client)},
				Data: []byte(in.Cut(`{"kind":"joined","member":{"connection":"` + client + `","client":"` + client + `"},"clients":2}`)),
			})
		}
	})
}
