package links

import (
	"context"
	"runtime"
	"strconv"

	"github.com/trunkline/trunkline/internal/redis/resp"
)

// askLoop sends requests in order, as many in one command as are of one kind. What comes while a command
// is written goes with the next one.
func (q *requests) askLoop(ctx context.Context, conn *resp.Conn) error {
	for {
		runtime.Gosched() // a caller that is about to ask joins
		for q.write(conn) {
		}
		if err := conn.Flush(); err != nil {
			return err
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// write sends a run of requests of one kind; false when there are none.
func (q *requests) write(conn *resp.Conn) bool {
	q.mu.Lock()
	n := 0
	for n < len(q.todo) && n < chunk && q.todo[n].verb == q.todo[0].verb {
		n++
	}
	run := q.todo[:n:n]
	// An empty queue lets its array go: the beginning of a connection may have made it large.
	if q.todo = q.todo[n:]; len(q.todo) == 0 {
		q.todo = nil
	}
	// Noted as asked before they are written, because an answer may come before the write returns.
	commands := q.commands(run)
	q.mu.Unlock()
	// Written without the lock, because every message that comes takes it.
	for _, c := range commands {
		conn.Command(c...)
	}
	return n > 0
}

// commands notes what will be answered, in order, and returns what to send. The caller holds the lock.
//
// What is left is not waited for. The server may end a subscription just before it is left. Then both are answered, or the
// second with an error, and nobody could tell whose the error is. A mark behind what was left sets that apart from what comes
// after.
func (q *requests) commands(run []request) [][]string {
	var commands [][]string
	leaving := false
	for i, r := range run {
		switch r.verb {
		case info:
			q.asked = append(q.asked, r)
			commands = append(commands, []string{string(info), "replication"})
			continue
		case subscribe, ssubscribe:
			r.want.sent = true
			// An error answers a whole command, so it has to be known where one ends.
			r.last = r.verb == ssubscribe || i == len(run)-1
			q.asked = append(q.asked, r)
		case unsubscribe, sunsubscribe, mark:
			if !r.want.sent { // it was never asked for, or the server has ended it
				continue
			}
			leaving = true
		}
		// In a Cluster the channels of a command have to be of one slot, so each goes alone.
		alone := r.verb == ssubscribe || r.verb == sunsubscribe
		if alone || len(commands) == 0 {
			commands = append(commands, []string{string(r.verb)})
		}
		last := len(commands) - 1
		commands[last] = append(commands[last], r.channel)
	}
	if leaving {
		q.marks++
		name := q.probe + ":" + strconv.Itoa(q.marks)
		q.asked = append(q.asked, request{verb: mark, channel: name})
		commands = append(commands, []string{string(unsubscribe), name})
	}
	return commands
}
