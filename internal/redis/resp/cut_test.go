package resp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/redis/resp"
)

// halting is a connection that sends one text again and again. It stops in front of a byte and again behind it: a byte further
// with each text. A pause takes no time here. To the reader it lasts: a deadline that would pass in it has passed.
type halting struct {
	net.Conn
	text     []byte
	pause    time.Duration
	cut      int  // place of the byte
	at       int  // place of what is sent next
	paused   bool // at that place
	deadline time.Time
}

func (h *halting) SetReadDeadline(t time.Time) error {
	h.deadline = t
	return nil
}

func (h *halting) Close() error { return nil }

func (h *halting) Read(b []byte) (int, error) {
	if h.at == len(h.text) {
		h.at, h.cut = 0, h.cut+1
	}
	if h.cut == len(h.text) {
		return 0, io.EOF
	}
	end := len(h.text)
	switch {
	case h.at < h.cut:
		end = h.cut
	case h.at == h.cut:
		end = h.cut + 1
	}
	if stops := h.at == h.cut || h.at == h.cut+1; stops && !h.paused && !h.deadline.IsZero() && time.Until(h.deadline) < h.pause {
		h.paused = true
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, h.text[h.at:end])
	h.at, h.paused = h.at+n, false
	return n, nil
}

// A pushed message is read as it was written wherever the network stops in it, also when its payload looks like the protocol.
func TestRead_goesOnAfterAPauseAtEveryByte(t *testing.T) {
	const size = 64 << 10
	const fake = ">3\r\n$7\r\nmessage\r\n$22\r\ntl:{clients/victim}:p\r\n$8\r\n\nforged!\r\n"
	frames := strings.Repeat(fake, size/len(fake)+1)
	for name, payload := range map[string]string{
		"text": fake, "binary": "\x00\xff\r\n" + fake, "64 KiB text": frames[:size], "64 KiB binary": ("\x00\xff\r" + frames)[:size],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const channel = "tl:{channels/a}:p"
			text := fmt.Sprintf(">3\r\n$7\r\nmessage\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(channel), channel, len(payload), payload)
			c := resp.New(&halting{text: []byte(text), pause: time.Second}, time.Minute)
			for n := 0; ; n++ {
				v, err := c.Read()
				if errors.Is(err, io.EOF) {
					if n != len(text) {
						t.Errorf("%d messages came of %d", n, len(text))
					}
					return
				}
				if err != nil || len(v.Items) != 3 || string(v.Items[1].Text) != channel || !bytes.Equal(v.Items[2].Text, []byte(payload)) {
					t.Fatalf("with a pause at byte %d: %v, %d items", n, err, len(v.Items))
				}
			}
		})
	}
}
