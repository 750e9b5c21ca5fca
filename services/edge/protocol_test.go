package edge_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// TestProtocolDocument sends every example of docs/protocol.md and compares every answer byte for byte.
func TestProtocolDocument(t *testing.T) {
	b, err := os.ReadFile("../../docs/protocol.md")
	testkit.Check(t, err)
	h := start(t, edge.Config{})
	values := map[string]string{"token": h.token("ada", everything)}
	c := h.dial("")
	examples := 0
	var waiting []string // the message and the answer of a publish may come in either order
	for _, block := range blocks(string(b), "frames") {
		for line := range strings.SplitSeq(block, "\n") {
			switch {
			case strings.HasPrefix(line, "> "):
				c.send(fill(line[2:], values))
			case strings.HasPrefix(line, "< "):
				examples++
				waiting = c.expect(waiting, line[2:], values)
			}
		}
	}
	if examples < 15 || len(waiting) > 0 {
		t.Errorf("%d examples, left over %q", examples, waiting)
	}
}

// TestProtocolDocument_devices does the same for the examples with two devices of one user. The lines "phone>" and "desk>" are
// what the devices send, "phone<" and "desk<" are what they get. The name "mail" is a back end that sends a message that asks
// for an ack.
func TestProtocolDocument_devices(t *testing.T) {
	b, err := os.ReadFile("../../docs/protocol.md")
	testkit.Check(t, err)
	h := start(t, edge.Config{Tickets: edge.Tickets{Keys: [][]byte{key(1)}}})
	mail := func(data string) string {
		resp, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{To: "users/ada", Data: []byte(data), Ack: &publishv1.AckPolicy{}})
		testkit.Check(t, err)
		return resp.GetId()
	}
	values, devices := map[string]string{"token": h.token("ada")}, map[string]*client{}
	for _, name := range []string{"phone", "desk"} {
		devices[name] = h.connected(h.token("ada"))
		devices[name].send(`{"id":9,"ping":{}}`) // its inbox has been read when it is answered
		if f := devices[name].read(); f["pong"] == nil {
			t.Fatalf("ping was answered with %v", f)
		}
	}
	values["message"] = mail(`{"text":"hi"}`)
	examples := 0
	for _, block := range blocks(string(b), "devices") {
		for line := range strings.SplitSeq(block, "\n") {
			name, rest, sends := strings.Cut(line, "> ")
			switch data, isMail := strings.CutPrefix(rest, "mail "); {
			case sends && isMail:
				mail(data)
			case sends && rest == "reconnect":
				testkit.Check(t, devices[name].ws.Close())
				devices[name] = h.dial("")
			case sends:
				devices[name].send(fill(rest, values))
			default:
				if name, rest, answers := strings.Cut(line, "< "); answers {
					examples++
					if strings.Contains(rest, `"connected"`) { // each connection has its own
						delete(values, "connection")
						delete(values, "ticket")
						delete(values, "client")
					}
					if strings.Contains(rest, `{"ticket"`) { // and each renewal
						delete(values, "ticket")
					}
					if left := devices[name].expect(nil, rest, values); len(left) > 0 {
						t.Errorf("before %s came %q", line, left)
					}
				}
			}
		}
	}
	if examples < 8 {
		t.Errorf("%d examples", examples)
	}
}

// fill replaces the words in angle brackets that are known.
func fill(text string, values map[string]string) string {
	for name, v := range values {
		text = strings.ReplaceAll(text, "<"+name+">", v)
	}
	return text
}

var placeholder = regexp.MustCompile(`<([a-z]+)>`)

// free are the words that differ each time they stand in the page.
var free = map[string]bool{"id": true, "time": true, "page": true}

// expect reads until a frame matches the line. It returns the frames that came before it.
func (c *client) expect(waiting []string, line string, values map[string]string) []string {
	c.tb.Helper()
	pattern := regexp.QuoteMeta(fill(line, values))
	var names []string
	pattern = placeholder.ReplaceAllStringFunc(pattern, func(word string) string {
		names = append(names, strings.Trim(word, "<>"))
		return `([^"]+)`
	})
	exact := regexp.MustCompile("^" + pattern + "$")
	for range 3 {
		for i, got := range waiting {
			if m := exact.FindStringSubmatch(got); m != nil {
				for j, name := range names {
					if !free[name] {
						values[name] = m[j+1]
					}
				}
				return append(waiting[:i:i], waiting[i+1:]...)
			}
		}
		testkit.Check(c.tb, c.ws.SetReadDeadline(time.Now().Add(5*time.Second)))
		_, b, err := c.ws.ReadMessage()
		if err != nil {
			c.tb.Fatalf("no frame like %s\nwaiting: %q: %v", line, waiting, err)
		}
		waiting = append(waiting, string(b))
	}
	c.tb.Fatalf("no frame like\n%s\namong\n%s", fill(line, values), strings.Join(waiting, "\n"))
	return nil
}

// blocks returns the fenced blocks of a kind, with frames joined that go on in indented lines.
func blocks(text, kind string) []string {
	var all []string
	for _, part := range strings.Split(text, "```"+kind+"\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		all = append(all, strings.ReplaceAll(block, "\n    ", ""))
	}
	return all
}

// TestProtocolDocument_hex does the same for the protobuf examples.
func TestProtocolDocument_hex(t *testing.T) {
	b, err := os.ReadFile("../../docs/protocol.md")
	testkit.Check(t, err)
	h := start(t, edge.Config{})
	c := h.proto(h.token("ada"))
	examples := 0
	for _, block := range blocks(string(b), "hex") {
		for line := range strings.SplitSeq(block, "\n") {
			switch {
			case strings.HasPrefix(line, "> "):
				raw, err := hex.DecodeString(line[2:])
				testkit.Check(t, err)
				testkit.Check(t, c.ws.WriteMessage(websocket.BinaryMessage, raw))
			case strings.HasPrefix(line, "< "):
				examples++
				testkit.Check(t, c.ws.SetReadDeadline(time.Now().Add(5*time.Second)))
				_, raw, err := c.ws.ReadMessage()
				testkit.Check(t, err)
				if got := fmt.Sprintf("%x", raw); got != line[2:] {
					t.Errorf("got %s, the page says %s", got, line[2:])
				}
			}
		}
	}
	if examples == 0 {
		t.Error("the page has no example")
	}
}
