package links //nolint:testpackage // a hearing is private to the store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/resp"
)

// said is a connection on which a server has said this and no more.
type said struct {
	net.Conn
	text io.Reader
}

func (s said) Read(b []byte) (int, error) { return s.text.Read(b) }

func (said) SetReadDeadline(time.Time) error { return nil }

func (said) Close() error { return nil }

// only is a receiver of one address.
type only struct {
	tb testing.TB
	to bus.Address
	n  int
}

func (o *only) Deliver(m *bus.Message) {
	if o.n++; m.To != o.to {
		o.tb.Errorf("a message to %s", m.To)
	}
}

func (o *only) Interrupted(addresses []bus.Address) {
	if len(addresses) != 1 || addresses[0] != o.to {
		o.tb.Errorf("interrupted are %v", addresses)
	}
}

// hear has a link that follows one address hear what a server says, and returns what was delivered of it.
func hear(tb testing.TB, text []byte) (int, error) {
	tb.Helper()
	o := &only{tb: tb, to: named(tb, "channels/a")}
	f := New(plain(nil))
	f.receiver, f.begin = o, func(*link) {}
	sub, _ := f.enter(o.to)
	f.mu.Lock()
	l := f.link("0", nil)
	f.move(sub, l)
	f.mu.Unlock()
	l.begin(false)
	for l.write(resp.New(taker{}, time.Second)) {
	}
	h := &hearing{link: l, conn: resp.New(said{text: bytes.NewReader(text)}, time.Second), push: resp.Push}
	err := h.run()
	l.lose()
	return o.n, err
}

// taker is a connection that takes everything.
type taker struct{ net.Conn }

func (taker) SetWriteDeadline(time.Time) error { return nil }

func (taker) Write(b []byte) (int, error) { return len(b), nil }

// push is what a server says unasked; the last part is a number where it has a colon.
func push(parts ...string) string {
	text := fmt.Sprintf(">%d\r\n", len(parts))
	for _, p := range parts {
		if strings.HasPrefix(p, ":") {
			text += p + "\r\n"
			continue
		}
		text += fmt.Sprintf("$%d\r\n%s\r\n", len(p), p)
	}
	return text
}

const followed = "tl:{channels/a}:p"

// messageOn is a message on a channel.
func messageOn(channel string) string {
	return push("message", channel, "\nx")
}

// Whatever a server says, nothing is delivered but messages to what is followed, and whatever it may not say is an error.
func FuzzHearing(f *testing.F) {
	open, live := push("subscribe", followed, ":1"), messageOn(followed)
	for _, text := range []string{
		open, open + live, open + open, live, "-MOVED 1 127.0.0.1:1\r\n", "-ERR\r\n-ERR\r\n-ERR\r\n", open + "-NOPERM\r\n", "$5\r\nhello\r\n",
		open + push("unsubscribe", followed, ":0") + open + live, push("pong"), open + messageOn("tl:{clients/victim}:p"),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := hear(t, text); err == nil || errors.Is(err, io.ErrNoProgress) {
			t.Errorf("it ends with %v", err)
		}
	})
}

// What is followed is delivered, and nothing after what could not be expected.
func TestHearing_delivers(t *testing.T) {
	text := push("subscribe", followed, ":1") + messageOn(followed) + messageOn(followed) + messageOn("tl:{clients/victim}:p") + messageOn(followed)
	if n, err := hear(t, []byte(text)); n != 3 || !errors.Is(err, io.EOF) {
		t.Errorf("%d messages, %v", n, err)
	}
	if n, err := hear(t, []byte(text+"$5\r\nhello\r\n"+text)); n != 3 || !errors.Is(err, errUnexpected) {
		t.Errorf("%d messages, %v", n, err)
	}
}
