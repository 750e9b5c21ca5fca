package badinput_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/testkit"
)

// request is one request as bytes on a connection.
type request struct {
	method, path, body string
	header             []string
	anonymous          bool // no Authorization
	asIs               bool // no header is added
}

// ask sends a request and returns what was answered: "400 FIELD_INVALID to, data", or "closed".
func (s *suite) ask(t *testing.T, r request) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.HTTP, "http://"))
	testkit.Check(t, err)
	defer func() { _ = conn.Close() }()
	testkit.Check(t, conn.SetDeadline(time.Now().Add(15*time.Second)))
	text := r.method + " " + r.path + " HTTP/1.1\r\n"
	add := func(name, value string) {
		if !r.asIs && !slices.ContainsFunc(r.header, func(h string) bool { return strings.HasPrefix(strings.ToLower(h), strings.ToLower(name)+":") }) {
			text += name + ": " + value + "\r\n"
		}
	}
	add("Host", "localhost")
	if !r.anonymous {
		add("Authorization", "Bearer "+s.token)
	}
	if r.body != "" {
		add("Content-Type", "application/json")
		add("Content-Length", strconv.Itoa(len(r.body)))
	}
	add("Connection", "close")
	for _, h := range r.header {
		text += h + "\r\n"
	}
	go func() { _, _ = io.WriteString(conn, text+"\r\n"+r.body) }() // the answer may come before all is written
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: r.method})
	if err != nil {
		return "closed"
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(res.Body)
	s.told(t, string(body))
	return strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", said(body)))
}

// said is the reason of an answer and its fields; empty for one without.
func said(body []byte) string {
	var answer struct {
		Error struct {
			Details []struct {
				Reason          string
				FieldViolations []struct{ Field string }
			}
		}
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	reason, fields := "", ""
	for _, d := range answer.Error.Details {
		reason += d.Reason
		for _, f := range d.FieldViolations {
			fields += "," + f.Field
		}
	}
	return strings.TrimSpace(reason + " " + strings.TrimPrefix(fields, ","))
}
