package links

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/redis/resp"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// dial makes a connection with the client's own way of dialling, which is to the master of the moment behind Sentinel, and with
// its user. It speaks RESP 3, which sets what the server says unasked apart from answers, or RESP 2 where the server knows
// nothing else. The result push is the kind of what the server says unasked. No database is selected: channels belong to none,
// and their names say for which one they are.
func dial(ctx context.Context, o *redis.Options, timeout time.Duration) (conn *resp.Conn, push resp.Kind, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	raw, err := o.Dialer(ctx, o.Network, o.Addr)
	if err != nil {
		return nil, 0, fmt.Errorf("connect: %w", err)
	}
	opened := resp.New(raw, probeWithin)
	stop := context.AfterFunc(ctx, func() { _ = opened.Close() }) // ends a waiting read
	user, password, err := server.Credentials(ctx, o)
	if err == nil {
		push, err = greet(opened, user, password)
	}
	// The time may end just as the server greets: then the connection is closed already.
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = opened.Close()
		return nil, 0, err
	}
	return opened, push, nil
}

// greet agrees on the protocol and signs in.
func greet(conn *resp.Conn, user, password string) (push resp.Kind, err error) {
	hello := []string{"HELLO", "3"}
	if password != "" {
		// AUTH inside of HELLO needs a name, and a password without one is of this user.
		hello = append(hello, "AUTH", cmp.Or(user, "default"), password)
	}
	answer, err := ask(conn, hello...)
	if err != nil {
		return 0, err
	}
	text := string(answer.Text)
	switch {
	case answer.Kind == resp.Map:
		return resp.Push, nil
	case answer.Kind != resp.Error:
		return 0, fmt.Errorf("%w: to HELLO", errUnexpected)
	case strings.HasPrefix(text, "NOPROTO"), strings.HasPrefix(text, "ERR unknown command"):
		return resp.Array, signIn(conn, user, password) // the text is not repeated: it may hold the password
	}
	return 0, fmt.Errorf("%w: %s", errRefused, text)
}

// signIn is for a server that does not know HELLO.
func signIn(conn *resp.Conn, user, password string) error {
	if password == "" {
		return nil
	}
	auth := []string{"AUTH", password}
	// Before Redis 6 there are no users, and AUTH takes the password alone.
	if user != "" {
		auth = []string{"AUTH", user, password}
	}
	answer, err := ask(conn, auth...)
	if err != nil {
		return err
	}
	if answer.Kind != resp.Simple {
		return fmt.Errorf("%w: %s", errRefused, answer.Text)
	}
	return nil
}

func ask(conn *resp.Conn, command ...string) (resp.Value, error) {
	conn.Command(command...)
	if err := conn.Flush(); err != nil {
		return resp.Value{}, fmt.Errorf("greet: %w", err)
	}
	answer, err := conn.Read()
	if err != nil {
		return resp.Value{}, fmt.Errorf("greet: %w", err)
	}
	return answer, nil
}

var (
	// errUnexpected is something that a server does not say at this place. Nothing after it can be believed.
	errUnexpected = errors.New("an answer that was not expected")
	// errRefused is an answer that a link cannot live with.
	errRefused = errors.New("the server refused")
)
