package facility_test

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/testkit"
)

// answer is what a raw request is answered with.
type answer struct {
	status int
	header http.Header
	body   string
	closed bool // the server closed the connection
}

// raw sends a request byte for byte.
func raw(t *testing.T, at, request string) answer {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(soon(t), "tcp", at)
	testkit.Check(t, err)
	defer func() { _ = conn.Close() }()
	testkit.Check(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, request)
	testkit.Check(t, err)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	testkit.Check(t, err)
	defer func() { _ = resp.Body.Close() }()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return a
	}
	body, err := io.ReadAll(resp.Body)
	testkit.Check(t, err)
	_, err = r.ReadByte()
	a.body, a.closed = string(body), errors.Is(err, io.EOF)
	return a
}

const key = "dGhlIHNhbXBsZSBub25jZQ=="

// handshake is a request whose headers are all right, but for those given; an empty one is left out.
func handshake(first string, headers map[string]string) string {
	all := map[string]string{
		"Host": "localhost", "Upgrade": "WebSocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key,
	}
	maps.Copy(all, headers)
	var b strings.Builder
	b.WriteString(first + "\r\n")
	for k, v := range all {
		if v != "" {
			b.WriteString(k + ": " + v + "\r\n")
		}
	}
	return b.String() + "\r\n"
}

// The table of the older server's answers, text for text.
func TestHandshake(t *testing.T) {
	h := start(t)
	const get = "GET /ws/f?subscribe-broadcast HTTP/1.1"
	for _, c := range []struct {
		name, request string
		status        int
		body          string
	}{
		{"not GET", handshake("POST /ws/f HTTP/1.1", nil), 400, "HTTP method must be a GET"},
		{"not HTTP/1.1", handshake("GET /ws/f HTTP/1.0", nil), 400, "HTTP server protocol must be 1.1"},
		{"no upgrade", handshake(get, map[string]string{"Upgrade": ""}), 400, "Client does not wish to upgrade to a websocket"},
		{"another upgrade", handshake(get, map[string]string{"Upgrade": "h2c"}), 400, "Client does not wish to upgrade to a websocket"},
		{"no version", handshake(get, map[string]string{"Sec-WebSocket-Version": ""}), 426, ""},
		{"version 6", handshake(get, map[string]string{"Sec-WebSocket-Version": "6"}), 400, "Unsupported WebSocket Version: 6"},
		{"no key", handshake(get, map[string]string{"Sec-WebSocket-Key": ""}), 400, "Sec-WebSocket-Key header is missing/empty"},
		{"short key", handshake(get, map[string]string{"Sec-WebSocket-Key": "c2hvcnQ="}), 400, "Invalid key: c2hvcnQ="},
		{"the method comes first", handshake("POST /ws/f HTTP/1.0", map[string]string{"Upgrade": ""}), 400, "HTTP method must be a GET"},
		{"the upgrade before the version", handshake(get, map[string]string{"Upgrade": "", "Sec-WebSocket-Version": ""}), 400, "Client does not wish to upgrade to a websocket"},
		{"the version before the key", handshake(get, map[string]string{"Sec-WebSocket-Version": "12", "Sec-WebSocket-Key": ""}), 400, "Unsupported WebSocket Version: 12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := raw(t, h.at[0], c.request)
			if a.status != c.status || a.body != c.body || !a.closed || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
				t.Errorf("got %d %q, closed %t, %s; want %d %q", a.status, a.body, a.closed, a.header.Get("Content-Type"), c.status, c.body)
			}
		})
	}
	for name, header := range map[string]map[string]string{
		"version 13": nil, "version 8": {"Sec-WebSocket-Version": "8"}, "version 7": {"Sec-WebSocket-Version": "7"},
		"connection is not looked at": {"Connection": "keep-alive"},
	} {
		if a := raw(t, h.at[0], handshake(get, header)); a.status != 101 || a.header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Errorf("%s: %d %v", name, a.status, a.header)
		}
	}
	t.Run("not its path", func(t *testing.T) {
		for _, path := range []string{"/", "/ws", "/other/ws/"} {
			if a := raw(t, h.at[0], handshake("GET "+path+" HTTP/1.1", nil)); a.status != 404 {
				t.Errorf("%s: %d", path, a.status)
			}
		}
	})
	t.Run("subprotocol", func(t *testing.T) {
		for offered, want := range map[string]string{"": "", "my.Proto-1": "my.Proto-1", "chat, super": "chat"} {
			a := raw(t, h.at[0], handshake(get, map[string]string{"Sec-WebSocket-Protocol": offered}))
			got, sent := a.header["Sec-Websocket-Protocol"]
			if a.status != 101 || sent != (want != "") || sent && (len(got) != 1 || got[0] != want) {
				t.Errorf("%q is answered with %q", offered, got)
			}
		}
	})
}

// Closed, nobody is let in who is nobody, and a token does as well as a session.
func TestClosed(t *testing.T) {
	h := start(t, closed)
	const get = "GET /ws/f?subscribe-broadcast HTTP/1.1"
	for name, header := range map[string]map[string]string{
		"nobody": nil, "an unknown session": {"Cookie": "sessionid=unknown"}, "an unknown token": {"Authorization": "Bearer x"},
		"a session as a token of another kind": {"Authorization": "Bearer session:"},
	} {
		a := raw(t, h.at[0], handshake(get, header))
		if a.status != 403 || a.body == "" || !a.closed {
			t.Errorf("%s: %d %q", name, a.status, a.body)
		}
	}
	john := h.login(t, "john")
	c := h.dial(t, 0, "f?subscribe-user&publish-user&echo", cookie(john))
	c.send("hello")
	c.gets("hello")
	ada := h.dial(t, 0, "f?subscribe-user&subscribe-group&token="+h.token(t, "ada", "staff"), nil)
	h.publish(t, "user:ada:f", "to ada")
	ada.gets("to ada")
	h.publish(t, "group:staff:f", "to her group")
	ada.gets("to her group")
}
