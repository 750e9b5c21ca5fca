package main

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"github.com/trunkline/trunkline/bench/load"
)

// acker acknowledges each message as Trunkline's JSON clients do.
type acker struct {
	answered atomic.Int64
}

var (
	messageID = []byte(`"message":{"id":"`)
	ackedWord = []byte(`"acked"`)
)

func (a *acker) take(c *load.Conn, frame []byte) error {
	if bytes.Contains(frame, ackedWord) {
		a.answered.Add(1)
		return nil
	}
	_, rest, ok := bytes.Cut(frame, messageID)
	if !ok {
		return nil
	}
	id, _, _ := bytes.Cut(rest, []byte(`"`))
	return c.Send(load.Frame(1, fmt.Appendf(nil, `{"id":2,"ack":{"address":"clients/client-%d","ids":["%s"]}}`, c.ID, id)))
}
