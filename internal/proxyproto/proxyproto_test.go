package proxyproto_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/proxyproto"
	"github.com/trunkline/trunkline/internal/testkit"
)

const v2 = "\r\n\r\n\x00\r\nQUIT\n"

// door is a server that answers with whom a request comes from.
type door struct {
	address string
	log     *bytes.Buffer
	metrics *prometheus.Registry
}

func serve(tb testing.TB, trusts bool, timeout time.Duration) door {
	tb.Helper()
	d := door{log: new(bytes.Buffer), metrics: prometheus.NewRegistry()}
	reader := proxyproto.New(func(netip.Addr) bool { return trusts }, slog.New(slog.NewTextHandler(d.log, nil)), d.metrics)
	reader.SetTimeout(timeout)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, r.RemoteAddr) }))
	s.Listener = reader.Listen(s.Listener)
	s.Start()
	tb.Cleanup(s.Close)
	d.address = s.Listener.Addr().String()
	return d
}

// refused returns how many headers were refused for a cause.
func (d door) refused(tb testing.TB, cause string) float64 {
	tb.Helper()
	families, err := d.metrics.Gather()
	testkit.Check(tb, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == cause {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// ask sends a header and a request, in pieces of a size, and returns the answer; empty when there is none.
func ask(tb testing.TB, address, header string, piece int) string {
	tb.Helper()
	c, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", address)
	testkit.Check(tb, err)
	defer func() { _ = c.Close() }()
	for rest := header + "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"; rest != ""; {
		n := min(piece, len(rest))
		if _, err := io.WriteString(c, rest[:n]); err != nil {
			break
		}
		rest = rest[n:]
	}
	testkit.Check(tb, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return resp.Status
	}
	body, err := io.ReadAll(resp.Body)
	testkit.Check(tb, err)
	return string(body)
}

func TestListener(t *testing.T) {
	d := serve(t, true, time.Minute)
	four := "\x21\x11\x00\x0c\xc6\x33\x64\x01\x0a\x00\x00\x01\x9c\x41\x01\xbb"
	six := "\x21\x21\x00\x24\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + strings.Repeat("\x00", 16) + "\x9c\x41\x01\xbb"
	for name, tt := range map[string]struct{ header, want string }{
		"1, IPv4":                    {"PROXY TCP4 198.51.100.1 10.0.0.1 40001 443\r\n", "198.51.100.1:40001"},
		"1, IPv6":                    {"PROXY TCP6 2001:db8::1 2001:db8::2 40001 443\r\n", "[2001:db8::1]:40001"},
		"1, unknown":                 {"PROXY UNKNOWN\r\n", "127.0.0.1:"},
		"1, unknown and more":        {"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "127.0.0.1:"},
		"2, IPv4":                    {v2 + four, "198.51.100.1:40001"},
		"2, IPv6":                    {v2 + six, "[2001:db8::1]:40001"},
		"2, more":                    {v2 + "\x21\x11\x00\x10" + four[4:] + "\x04\x00\x01\x00", "198.51.100.1:40001"},
		"2, a health check":          {v2 + "\x20\x00\x00\x00", "127.0.0.1:"},
		"2, a check with an address": {v2 + "\x20" + four[1:], "127.0.0.1:"},
		"2, no family":               {v2 + "\x21\x00\x00\x00", "127.0.0.1:"},
		"2, UDP":                     {v2 + "\x21\x12" + four[2:], "127.0.0.1:"},
		"2, a socket of Unix":        {v2 + "\x21\x31\x00\xd8" + strings.Repeat("x", 216), "127.0.0.1:"},
		"2, a check of no family":    {v2 + "\x20\xff\x00\x01x", "127.0.0.1:"},
		"none":                       {"", ""},
		"1, another family":          {"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", ""},
		"1, a name":                  {"PROXY TCP4 localhost 10.0.0.1 1 2\r\n", ""},
		"1, a port too large":        {"PROXY TCP4 198.51.100.1 10.0.0.1 65536 2\r\n", ""},
		"1, a port with zeros":       {"PROXY TCP4 198.51.100.1 10.0.0.1 01 2\r\n", ""},
		"1, two spaces":              {"PROXY TCP4  198.51.100.1 10.0.0.1 1 2\r\n", ""},
		"1, a word too many":         {"PROXY TCP4 198.51.100.1 10.0.0.1 1 2 3\r\n", ""},
		"1, a line without its end":  {"PROXY TCP4 198.51.100.1 10.0.0.1 1 2\n" + strings.Repeat("x", 107), ""},
		"1, UDP":                     {"PROXY UDP4 198.51.100.1 10.0.0.1 1 2\r\n", ""},
		"1, small letters":           {"proxy TCP4 198.51.100.1 10.0.0.1 1 2\r\n", ""},
		"2, another version":         {v2 + "\x31" + four[1:], ""},
		"2, another command":         {v2 + "\x22" + four[1:], ""},
		"2, another family":          {v2 + "\x21\x41" + four[2:], ""},
		"2, another transport":       {v2 + "\x21\x13" + four[2:], ""},
		"2, UDP, too short":          {v2 + "\x21\x12\x00\x04\x01\x02\x03\x04", ""},
		"2, Unix, too short":         {v2 + "\x21\x31" + four[2:], ""},
		"2, too short":               {v2 + "\x21\x11\x00\x04\x01\x02\x03\x04", ""},
		"2, too long":                {v2 + "\x21\x11\xff\xff" + strings.Repeat("x", 0xffff), ""},
		"two headers":                {"PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n", "400 Bad Request"},
	} {
		for _, piece := range []int{1, 7, 1 << 20} {
			got := ask(t, d.address, tt.header, piece)
			if got != tt.want && (!strings.HasSuffix(tt.want, ":") || !strings.HasPrefix(got, tt.want)) {
				t.Errorf("%s, in pieces of %d: %q, want %q", name, piece, got, tt.want)
			}
		}
	}
}

// A caller that is no proxy is not believed: a header is then a broken request.
func TestListener_others(t *testing.T) {
	d := serve(t, false, time.Minute)
	if got := ask(t, d.address, "PROXY TCP4 198.51.100.1 10.0.0.1 40001 443\r\n", 1<<20); got != "400 Bad Request" {
		t.Errorf("got %q", got)
	}
	if got := ask(t, d.address, "", 1<<20); !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("got %q", got)
	}
}

// A proxy that is slow holds up nobody but itself. What is refused is counted by its cause, and logged once.
func TestListener_refuses(t *testing.T) {
	d := serve(t, true, 200*time.Millisecond)
	const good = "PROXY TCP4 198.51.100.1 10.0.0.1 1 2\r\n"
	for _, begun := range []string{"", good[:20]} {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", d.address)
		testkit.Check(t, err)
		_, err = io.WriteString(c, begun)
		testkit.Check(t, err)
		if got := ask(t, d.address, good, 1<<20); got != "198.51.100.1:1" {
			t.Errorf("somebody else got %q", got)
		}
		testkit.Check(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the silent connection ends with %v", err)
		}
		testkit.Check(t, c.Close())
	}
	if got := ask(t, d.address, "GET / HTTP/1.1\r\n", 1<<20); got != "" {
		t.Errorf("without a header: %q", got)
	}
	for _, begun := range []string{"", good[:20]} { // an open port is looked for, and a header that ends
		c, err := net.Dial("tcp", d.address)
		testkit.Check(t, err)
		_, err = io.WriteString(c, begun)
		testkit.Check(t, err)
		testkit.Check(t, c.(*net.TCPConn).CloseWrite())
		_, err = io.ReadAll(c)
		testkit.Check(t, err)
		testkit.Check(t, c.Close())
	}
	for cause, want := range map[string]float64{"timeout": 2, "malformed": 1, "incomplete": 1} {
		testkit.Eventually(t, cause+" is counted", func() bool { return d.refused(t, cause) == want })
	}
	if n := strings.Count(d.log.String(), "PROXY header"); n != 1 || !strings.Contains(d.log.String(), "proxy=127.0.0.1:") {
		t.Errorf("%d lines: %s", n, d.log)
	}
}

// What is copied from a connection begins behind the header as well.
func TestConn_copies(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Check(t, err)
	l = proxyproto.New(func(netip.Addr) bool { return true }, slog.New(slog.DiscardHandler), nil).Listen(l)
	defer func() { _ = l.Close() }()
	out, err := net.Dial("tcp", l.Addr().String())
	testkit.Check(t, err)
	_, err = io.WriteString(out, "PROXY UNKNOWN\r\nhello")
	testkit.Check(t, errors.Join(err, out.Close()))
	in, err := l.Accept()
	testkit.Check(t, err)
	defer func() { _ = in.Close() }()
	var got strings.Builder
	_, err = io.Copy(&got, in)
	testkit.Check(t, err)
	if got.String() != "hello" {
		t.Errorf("got %q", got.String())
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 198.51.100.1 10.0.0.1 40001 443\r\nrest"))
	f.Add([]byte(v2 + "\x21\x11\x00\x0c\xc6\x33\x64\x01\x0a\x00\x00\x01\x9c\x41\x01\xbbrest"))
	f.Add([]byte(v2 + "\x20\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := strings.NewReader(string(b))
		from, err := proxyproto.ReadHeader(r)
		if err != nil && from.IsValid() {
			t.Errorf("an error, and %s", from)
		}
		if err == nil && len(b)-r.Len() > 4096+16 {
			t.Errorf("it took %d bytes", len(b)-r.Len())
		}
	})
}
