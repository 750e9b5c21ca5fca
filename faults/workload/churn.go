package workload

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/faults/proc"
)

// Churn lets some connections subscribe to one address and leave it, as often as they may, until ctx ends. It returns how often.
func (l *Load) Churn(ctx context.Context, connections int, address string) (int, error) {
	turns := make([]int, connections)
	errs := make([]error, connections)
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() { turns[i], errs[i] = l.churn(ctx, i, address) })
	}
	all.Wait()
	sum := 0
	for i := range turns {
		if sum += turns[i]; errs[i] != nil {
			return sum, errs[i]
		}
	}
	return sum, nil
}

func (l *Load) churn(ctx context.Context, i int, address string) (turns int, err error) {
	token, err := l.Token(ctx, fmt.Sprintf("churn%d", i), "", 0)
	if err != nil {
		return 0, err
	}
	conn, _, err := open(ctx, l.sys.Edges[i%len(l.sys.Edges)], connect{Token: token})
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	for id := uint32(2); proc.Wait(ctx, 25*time.Millisecond) == nil; id += 2 { // as often as a connection may
		for k, verb := range []string{"subscribe", "unsubscribe"} {
			if err := ask(conn, id+uint32(k), verb, address); err != nil {
				return turns, err
			}
		}
		turns++
	}
	return turns, nil
}

// ask sends a command, and waits for its answer. One that comes too often is refused, which is an answer too.
func ask(conn *websocket.Conn, id uint32, verb, address string) error {
	if err := conn.WriteJSON(map[string]any{"id": id, verb: map[string]string{"address": address}}); err != nil {
		return err
	}
	for {
		f, err := read(conn)
		if err != nil || f.ID == id {
			return err
		}
	}
}
