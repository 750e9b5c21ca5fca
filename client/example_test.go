package client_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/trunkline/trunkline/client"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// A worker that gets each message of a channel once and in order, and acknowledges what asks for it. Lost connections and
// restarts of the server change nothing.
func Example() { //nolint:testableexamples // it needs a server
	c, err := client.New(client.Config{
		URL:   "https://messages.example.com",
		Token: func(context.Context) (string, error) { return os.Getenv("TRUNKLINE_TOKEN"), nil },
		OnMessage: func(m *publishv1.Message) {
			fmt.Printf("%s %s\n", m.GetTo(), m.GetData())
		},
		OnGap: func(g *publishv1.Gap) {
			log.Printf("missed messages of %s: %s", g.GetAddress(), g.GetReason())
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	if _, err := c.Subscribe(ctx, client.Subscription{Address: "channels/orders:eu"}); err != nil {
		log.Fatal(err) //nolint:gocritic // the process ends, and all with it
	}
	log.Fatal(<-ended)
}
