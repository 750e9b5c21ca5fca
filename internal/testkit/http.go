package testkit

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// Reply is the answer to a request.
type Reply struct {
	Status int
	Header http.Header
	Body   string
}

// Send makes a request; header lines are "Name: value", and a path is sent exactly as it is written.
func Send(tb testing.TB, s *httptest.Server, method, path, body string, header ...string) Reply {
	tb.Helper()
	conn, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", s.Listener.Addr().String())
	Check(tb, err)
	defer func() { _ = conn.Close() }()
	lines := []string{method + " " + path + " HTTP/1.1", "Connection: close"}
	hasHost, hasLength := false, false
	for _, h := range header {
		hasHost = hasHost || strings.HasPrefix(h, "Host:")
		hasLength = hasLength || strings.HasPrefix(h, "Content-Length:") || strings.HasPrefix(h, "Transfer-Encoding:")
	}
	if !hasHost {
		lines = append(lines, "Host: "+s.Listener.Addr().String())
	}
	if body != "" && !hasLength {
		lines = append(lines, "Content-Length: "+strconv.Itoa(len(body)))
	}
	lines = append(lines, header...)
	_, err = io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+body)
	Check(tb, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	Check(tb, err)
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(res.Body)
	return Reply{Status: res.StatusCode, Header: res.Header, Body: string(text)}
}
