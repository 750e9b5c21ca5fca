package badinput_test

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
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
	sentWith(r.path, text)
	go func() { _, _ = io.WriteString(conn, text+"\r\n"+r.body) }() // the answer may come before all is written
	var heard strings.Builder
	res, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &heard)), &http.Request{Method: r.method})
	if err != nil {
		return "closed"
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(res.Body)
	s.told(t, heard.String())
	s.agrees(t, res.StatusCode, body)
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

const publish = "/v1/channels/open:a:publish"

// post is a publish with a body.
func post(body string, header ...string) request {
	return request{method: "POST", path: publish, body: body, header: header}
}

func get(path string, header ...string) request {
	return request{method: "GET", path: path, header: header}
}

// listed asks for messages with a query.
func listed(query string) request { return get("/v1/channels/open:a/messages?" + query) }

type restRow struct {
	name, want string
	request
}

// restBodies is what is wrong in a body.
var restBodies = []restRow{
	{"empty body", "400 INVALID_JSON", post("")},
	{"an open brace", "400 INVALID_JSON", post("{")},
	{"a list", "400 INVALID_JSON", post("[]")},
	{"a string", "400 INVALID_JSON", post(`"x"`)},
	{"a number", "400 INVALID_JSON", post(`1`)},
	{"null", "400 INVALID_JSON", post("null")},
	{"true", "400 INVALID_JSON", post("true")},
	{"a brace too many", "400 INVALID_JSON", post(`{"data":1}}`)},
	{"two objects", "400 INVALID_JSON", post(`{"data":1}{"data":2}`)},
	{"a comma too many", "400 INVALID_JSON", post(`{"data":1,}`)},
	{"no quotes", "400 INVALID_JSON", post(`{data:1}`)},
	{"single quotes", "400 INVALID_JSON", post(`{'data':1}`)},
	{"a comment", "400 INVALID_JSON", post(`{"data":1/*x*/}`)},
	{"NaN", "400 INVALID_JSON", post(`{"data":NaN}`)},
	{"Infinity", "400 INVALID_JSON", post(`{"data":Infinity}`)},
	{"a leading zero", "400 INVALID_JSON", post(`{"data":01}`)},
	{"a plus sign", "400 INVALID_JSON", post(`{"data":+1}`)},
	{"a control byte in a string", "400 INVALID_JSON", post("{\"data\":\"a\x01b\"}")},
	{"a newline in a string", "400 INVALID_JSON", post("{\"data\":\"a\nb\"}")},
	{"a short escape", "400 INVALID_JSON", post(`{"data":"\u12"}`)},
	{"an unknown escape", "400 INVALID_JSON", post(`{"data":"\x41"}`)},
	{"a byte order mark", "400 INVALID_JSON", post("\xef\xbb\xbf{\"data\":1}")},
	{"UTF-16", "400 INVALID_JSON", post("\xff\xfe{\x00}\x00")},
	{"bytes that are no UTF-8", "400 INVALID_JSON", post("{\"data\":\"\xff\"}")},
	{"a surrogate as UTF-8", "400 INVALID_JSON", post("{\"data\":\"\xed\xa0\x80\"}")},
	{"200 levels", "400 FIELD_INVALID data", post(`{"data":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`)},
	{"100,000 levels", "400 INVALID_JSON", post(`{"data":` + strings.Repeat("[", 100_000))},
	{"an unknown field", "400 UNKNOWN_FIELD dta", post(`{"dta":1}`)},
	{"__proto__", "400 UNKNOWN_FIELD __proto__", post(`{"__proto__":{},"data":1}`)},
	{"a field twice", "400 FIELD_INVALID data", post(`{"data":1,"data":2}`)},
	{"a field in both spellings", "400 FIELD_INVALID content_type", post(`{"contentType":"CONTENT_TYPE_JSON","content_type":"CONTENT_TYPE_TEXT","data":"1"}`)},
	{"a field in capitals", "400 UNKNOWN_FIELD DATA", post(`{"DATA":1}`)},
	{"another address in body and path", "400 FIELD_INVALID to", post(`{"to":"channels/open:b","data":1}`)},
	{"a number for a string", "400 FIELD_INVALID idempotencyKey", post(`{"idempotencyKey":5,"data":1}`)},
	{"a list for a string", "400 FIELD_INVALID idempotencyKey", post(`{"idempotencyKey":["x"],"data":1}`)},
	{"an object for a string", "400 FIELD_INVALID idempotencyKey", post(`{"idempotencyKey":{},"data":1}`)},
	{"true for a string", "400 FIELD_INVALID idempotencyKey", post(`{"idempotencyKey":true,"data":1}`)},
	{"a string for an object", "400 FIELD_INVALID ack", post(`{"ack":"yes","data":1}`)},
	{"a number for a list", "400 FIELD_INVALID recipients", post(`{"recipients":5,"data":1}`)},
	{"an object for an enum", "400 FIELD_INVALID contentType", post(`{"contentType":{},"data":1}`)},
	{"an unknown name of an enum", "400 FIELD_INVALID contentType", post(`{"contentType":"CONTENT_TYPE_XML","data":"1"}`)},
	{"a number outside an enum", "400 FIELD_INVALID content_type", post(`{"contentType":99,"data":"1"}`)},
	{"text that is a number", "400 FIELD_INVALID data", post(`{"contentType":"CONTENT_TYPE_TEXT","data":5}`)},
	{"bytes that are no base64", "400 FIELD_INVALID data", post(`{"contentType":"CONTENT_TYPE_BINARY","data":"*"}`)},
	{"a lone surrogate in text", "400 FIELD_INVALID data", post(`{"contentType":"CONTENT_TYPE_TEXT","data":"\ud800"}`)},
	{"a ttl without a unit", "400 FIELD_INVALID ttl", post(`{"ttl":"10","data":1}`)},
	{"a ttl that is a number", "400 FIELD_INVALID ttl", post(`{"ttl":10,"data":1}`)},
	{"a ttl in minutes", "400 FIELD_INVALID ttl", post(`{"ttl":"1m","data":1}`)},
	{"a negative ttl", "400 FIELD_INVALID ttl", post(`{"ttl":"-1s","data":1}`)},
	{"a ttl of zero", "400 FIELD_INVALID ttl", post(`{"ttl":"0s","data":1}`)},
	{"a ttl of a thousand years", "400 FIELD_INVALID ttl", post(`{"ttl":"31536000000s","data":1}`)},
	{"a key of 256 bytes", "400 FIELD_INVALID idempotency_key", post(`{"idempotencyKey":"` + strings.Repeat("x", 256) + `","data":1}`)},
	{"a key with a newline", "400 FIELD_INVALID idempotency_key", post(`{"idempotencyKey":"a\nb","data":1}`)},
	{"a key with NUL", "400 FIELD_INVALID idempotency_key", post(`{"idempotencyKey":"a\u0000b","data":1}`)},
	{"an attribute with an empty name", "400 FIELD_INVALID attributes", post(`{"attributes":{"":"x"},"data":1}`)},
	{"an attribute with a line in its name", "400 FIELD_INVALID attributes", post(`{"attributes":{"a\nb":"x"},"data":1}`)},
	{"an attribute that is a number", "400 FIELD_INVALID attributes.a", post(`{"attributes":{"a":1},"data":1}`)},
	{"an attribute that is too long", "400 FIELD_INVALID attributes", post(`{"attributes":{"a":"` + strings.Repeat("x", 1025) + `"},"data":1}`)},
	{"recipients that are empty", "400 FIELD_INVALID recipients[0]", post(`{"recipients":[""],"data":1}`)},
	{"recipients that are null", "400 FIELD_INVALID recipients[0]", post(`{"recipients":[null],"data":1}`)},
	{"data above the limit", "400 MESSAGE_TOO_LARGE data", post(`{"data":"` + strings.Repeat("x", 70_000) + `"}`)},
}

// restQueries is what is wrong in a query.
var restQueries = []restRow{
	{"an unknown parameter", "400 UNKNOWN_FIELD limit", listed("limit=5")},
	{"a parameter twice", "400 FIELD_INVALID pageSize", listed("pageSize=1&pageSize=2")},
	{"a parameter in both spellings", "400 FIELD_INVALID page_size", listed("pageSize=1&page_size=2")},
	{"a number that is none", "400 FIELD_INVALID pageSize", listed("pageSize=x")},
	{"a number with a fraction", "400 FIELD_INVALID pageSize", listed("pageSize=1.5")},
	{"a number past 32 bits", "400 FIELD_INVALID pageSize", listed("pageSize=99999999999")},
	{"a negative number", "400 FIELD_INVALID page_size", listed("pageSize=-1")},
	{"an empty number", "400 FIELD_INVALID pageSize", listed("pageSize=")},
	{"a page token that is none", "400 FIELD_INVALID page_token", listed("pageToken=x")},
	{"a page token that is no UTF-8", "400 FIELD_INVALID pageToken", listed("pageToken=%ff")},
	{"a string that is no UTF-8", "400 FIELD_INVALID forClient", listed("forClient=%ff")},
	{"a nested string that is no UTF-8", "400 FIELD_INVALID after.epoch", listed("after.epoch=%ff")},
	{"a nested unknown parameter", "400 UNKNOWN_FIELD after.nope", listed("after.nope=1")},
	{"a parameter a hundred levels deep", "400 UNKNOWN_FIELD " + strings.Repeat("a.", 32) + "…", listed(strings.Repeat("a.", 100) + "a=1")},
	{"a name that is no UTF-8", "400 UNKNOWN_FIELD \ufffd", listed("%ff=1")},
	{"an escape that is none", "400 FIELD_INVALID query", listed("pageSize=%zz")},
	{"a token in the query", "400 UNKNOWN_FIELD token", listed("token=x")},
	{"an access token in the query", "400 UNKNOWN_FIELD access_token", listed("access_token=x")},
	{"10,000 parameters", "400 FIELD_INVALID query", listed(strings.Repeat("a=1&", 9_999) + "a=1")},
	{"a query of 1 MiB", "431", listed("pageToken=" + strings.Repeat("x", 1<<20))},
}

// restPaths is what is wrong in a path or a method.
var restPaths = []restRow{
	{"no such path", "404 METHOD_UNKNOWN", get("/v1/nope")},
	{"the root of the API", "404 METHOD_UNKNOWN", get("/v1")},
	{"another version", "404 METHOD_UNKNOWN", get("/v2/channels/open:a/messages")},
	{"a path in capitals", "404 METHOD_UNKNOWN", get("/V1/channels/open:a/messages")},
	{"an unknown verb", "405 METHOD_UNKNOWN", request{method: "POST", path: "/v1/channels/open:a:shout", body: "{}"}},
	{"GET of a channel with the name of a verb", "403 PERMISSION_DENIED", get(publish)},
	{"PUT of what is posted", "405 METHOD_UNKNOWN", request{method: "PUT", path: publish, body: `{"data":1}`}},
	{"DELETE of what is listed", "405 METHOD_UNKNOWN", request{method: "DELETE", path: "/v1/channels/open:a/messages"}},
	{"an invented method", "405 METHOD_UNKNOWN", request{method: "GEX", path: publish}},
	{"TRACE", "405 METHOD_UNKNOWN", request{method: "TRACE", path: publish}},
	{"two slashes", "400 ADDRESS_INVALID", request{method: "POST", path: "/v1/channels//open:a:publish", body: `{"data":1}`}},
	{"a trailing slash", "400 ADDRESS_INVALID", get("/v1/channels/open:a/messages/")},
	{"dots", "400 ADDRESS_INVALID", get("/v1/channels/../messages")},
	{"encoded dots", "400 ADDRESS_INVALID", get("/v1/channels/%2e%2e/messages")},
	{"an encoded slash", "400 ADDRESS_INVALID", get("/v1/channels/open:a%2Fb/messages")},
	{"an encoded NUL", "400 ADDRESS_INVALID", get("/v1/channels/open:a%00/messages")},
	{"a byte that is no UTF-8", "400 ADDRESS_INVALID", get("/v1/channels/open:a%ff/messages")},
	{"a space", "400 FIELD_INVALID address", get("/v1/channels/open:a%20b/messages")},
	{"an escape that is none", "400", get("/v1/channels/open:a%zz/messages")},
	{"a name of 300 bytes", "400 FIELD_INVALID address", get("/v1/channels/" + strings.Repeat("x", 300) + "/messages")},
	{"a name of 10 KiB", "400 ADDRESS_INVALID", get("/v1/channels/" + strings.Repeat("x", 10<<10) + "/messages")},
	{"a path of 100 KiB", "431", get("/v1/channels/" + strings.Repeat("x", 100<<10))},
	{"pprof", "404 METHOD_UNKNOWN", get("/debug/pprof/")},
	{"metrics", "404 METHOD_UNKNOWN", get("/metrics")},
	{"the gRPC path", "404 METHOD_UNKNOWN", request{method: "POST", path: "/trunkline.publish.v1.PublishService/Publish", body: "{}"}},
	{"an absolute URL of another host", "404 METHOD_UNKNOWN", get("http://evil.example/nope")},
}

// restHeaders is what is wrong in headers and the transport.
var restHeaders = []restRow{
	{"no credentials", "401 TOKEN_MISSING", request{method: "POST", path: publish, body: `{"data":1}`, anonymous: true}},
	{"Basic", "401 TOKEN_MISSING", post(`{"data":1}`, "Authorization: Basic YTpi")},
	{"Bearer without a token", "401 TOKEN_MISSING", post(`{"data":1}`, "Authorization: Bearer ")},
	{"a token without Bearer", "401 TOKEN_MISSING", post(`{"data":1}`, "Authorization: abc")},
	{"two tokens", "401 TOKEN_INVALID", post(`{"data":1}`, "Authorization: Bearer a", "Authorization: Bearer b")},
	{"no token", "401 TOKEN_INVALID", post(`{"data":1}`, "Authorization: Bearer x")},
	{"an unknown API key", "401 API_KEY_INVALID", post(`{"data":1}`, "Authorization: Bearer tlk_nobody_"+strings.Repeat("a", 43))},
	{"text/plain", "415 UNSUPPORTED_MEDIA_TYPE", post(`{"data":1}`, "Content-Type: text/plain")},
	{"a page's form", "415 UNSUPPORTED_MEDIA_TYPE", post(`{"data":1}`, "Content-Type: application/x-www-form-urlencoded", "Origin: http://evil.example")},
	{"another charset", "415 UNSUPPORTED_MEDIA_TYPE", post(`{"data":1}`, "Content-Type: application/json; charset=utf-16")},
	{"a content type that is none", "415 UNSUPPORTED_MEDIA_TYPE", post(`{"data":1}`, "Content-Type: ;;")},
	{"an encoding that is not spoken", "415 UNSUPPORTED_MEDIA_TYPE", post(`{"data":1}`, "Content-Encoding: br")},
	{"gzip that is none", "400 INVALID_JSON", post(`{"data":1}`, "Content-Encoding: gzip")},
	{"a body of 10 GiB", "413 MESSAGE_TOO_LARGE", post(`{"data":1}`, "Content-Length: 10737418240")},
	{"a negative length", "400", post(`{"data":1}`, "Content-Length: -1")},
	{"two lengths", "400", post(`{"data":1}`, "Content-Length: 10", "Content-Length: 11")},
	{"an unknown transfer encoding", "501", post(`{"data":1}`, "Transfer-Encoding: xchunked")},
	{"chunks that are none", "400 INVALID_JSON", post("zz\r\n", "Transfer-Encoding: chunked")},
	{"a header without a colon", "400", post(`{"data":1}`, "X-A")},
	{"a space before the colon", "400", post(`{"data":1}`, "X-A : b")},
	{"NUL in a header", "400", post(`{"data":1}`, "X-A: a\x00b")},
	{"no host", "400", request{method: "GET", path: "/v1/channels", asIs: true}},
	{"two hosts", "400", get("/v1/channels", "Host: a", "Host: b")},
	{"headers of 1 MiB", "431", get("/v1/channels", "X-A: "+strings.Repeat("x", 1<<20))},
	{"10,000 headers", "431", get("/v1/channels", strings.Repeat("X-A: b\r\n", 10_000)+"X-A: b")},
	{"a deadline that is none", "400 FIELD_INVALID Grpc-Timeout", post(`{"data":1}`, "Grpc-Timeout: x")},
	{"an idempotency key of 256 bytes", "400 FIELD_INVALID idempotency_key", post(`{"data":1}`, "Idempotency-Key: "+strings.Repeat("x", 256))},
}

// unique is a secret of which nobody else has heard.
var unique = rand.Text() + rand.Text()

// restSecrets have credentials where none belong.
var restSecrets = []restRow{
	{"Basic with a password", "401 TOKEN_MISSING", post(`{"data":1}`, "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("ada:"+unique)))},
	{"Digest", "401 TOKEN_MISSING", post(`{"data":1}`, `Authorization: Digest response="`+unique+`"`)},
	{"a key in another header", "401 TOKEN_MISSING", request{method: "POST", path: publish, body: `{"data":1}`, anonymous: true, header: []string{"X-Api-Key: " + unique}}},
	{"credentials for a proxy", "200", post(`{"data":1}`, "Proxy-Authorization: Basic "+unique)},
	{"a cookie", "200", post(`{"data":1}`, "Cookie: session="+unique)},
	{"a secret as a token", "401 TOKEN_INVALID", post(`{"data":1}`, "Authorization: Bearer "+unique)},
	{"a secret as a token in the query", "400 UNKNOWN_FIELD token", listed("token=" + unique)},
	{"a secret as a token, with a bad escape", "400 FIELD_INVALID query", listed("token=" + unique + "%zz")},
	{"validate a secret", "403 PERMISSION_DENIED", request{method: "POST", path: "/v1/tokens:validate", body: `{"token":"` + unique + `"}`}},
	{"validate a list", "400 FIELD_INVALID token", request{method: "POST", path: "/v1/tokens:validate", body: `{"token":["` + unique + `"]}`}},
	{"validate an object", "400 FIELD_INVALID token", request{method: "POST", path: "/v1/tokens:validate", body: `{"token":{"x":"` + unique + `"}}`}},
	{"validate what does not end", "400 INVALID_JSON", request{method: "POST", path: "/v1/tokens:validate", body: `{"token":"` + unique}},
	{"validate another field", "400 UNKNOWN_FIELD tokn", request{method: "POST", path: "/v1/tokens:validate", body: `{"tokn":"` + unique + `"}`}},
	{"refresh a secret", "401 TOKEN_INVALID", request{method: "POST", path: "/v1/tokens:refresh", body: `{"refreshToken":"` + unique + `"}`}},
	{"refresh a list", "400 FIELD_INVALID refreshToken", request{method: "POST", path: "/v1/tokens:refresh", body: `{"refreshToken":["` + unique + `"]}`}},
	{"a key with a secret", "400 FIELD_INVALID idempotency_key", post(`{"idempotencyKey":"` + unique + ` x","data":1}`)},
}

// restIgnored is what changes nothing: an answer is as it is without it.
var restIgnored = []restRow{
	{"base64 for URLs", "200", post(`{"contentType":"CONTENT_TYPE_BINARY","data":"_-8="}`)},
	{"GET with a body", "200", request{method: "GET", path: "/v1/channels/open:a/messages", body: "{}"}},
	{"DELETE of a channel that is not there", "403 PERMISSION_DENIED", request{method: "DELETE", path: "/v1/channels/open:nowhere"}},
	{"another method in a header", "200", post(`{"data":1}`, "X-HTTP-Method-Override: DELETE")},
	{"a token of 1 MiB", "431", post(`{"data":1}`, "Authorization: Bearer "+strings.Repeat("x", 1<<20))},
	{"credentials as metadata", "401 TOKEN_MISSING", request{method: "POST", path: publish, body: `{"data":1}`, anonymous: true, header: []string{"Grpc-Metadata-Authorization: Bearer x"}}},
	{"a user as metadata", "200", post(`{"data":1}`, "Grpc-Metadata-X-User-Id: root")},
	{"a tenant as metadata", "200", post(`{"data":1}`, "Grpc-Metadata-X-Tenant: other")},
	{"credentials of the gateway", "401 TOKEN_MISSING", request{method: "POST", path: publish, body: `{"data":1}`, anonymous: true, header: []string{"Grpcgateway-Authorization: Bearer x"}}},
	{"an encoding of gRPC", "200", post(`{"data":1}`, "Grpc-Encoding: gzip")},
	{"another host", "200", post(`{"data":1}`, "X-Forwarded-Host: evil.example")},
	{"bytes in a header", "200", post(`{"data":1}`, "Grpc-Metadata-X-Bin: \xff\xfe")},
	{"a range", "200", get("/v1/channels/open:a/messages", "Range: bytes=0-1", "If-None-Match: *")},
	{"bearer in lower case", "401 TOKEN_INVALID", post(`{"data":1}`, "Authorization: bearer x")},
	{"XML for an answer", "200", post(`{"data":1}`, "Accept: application/xml")},
}

const batch = "/v1/messages:batchPublish"

// posted is a batch of so many messages, and one more.
func posted(n int, more string) request {
	items := slices.Repeat([]string{`{"to":"channels/open:a","data":1}`}, n)
	if more != "" {
		items = append(items, more)
	}
	return request{method: "POST", path: batch, body: `{"requests":[` + strings.Join(items, ",") + `]}`}
}

// restBatches are batches that are wrong as a whole. One bad message of many fails alone.
var restBatches = []restRow{
	{"a batch of none", "400 FIELD_INVALID requests", posted(0, "")},
	{"a batch of 1,000", "200", posted(1000, "")},
	{"a batch of 1,001", "400 FIELD_INVALID requests", posted(1001, "")},
	{"a bad message of ten", "200", posted(9, `{"to":"channels/open:","data":1}`)},
	{"a message of ten that cannot be read", "200", posted(9, `{"to":5,"data":1}`)},
}

// restTaken is odd, and right by RFC 9112. Chunks count where there is a length too (section 6.3). A folded line is one line
// (section 5.2).
var restTaken = []restRow{
	{"a length and chunks", "200", post("a\r\n{\"data\":1}\r\n0\r\n\r\n", "Content-Length: 10", "Transfer-Encoding: chunked")},
	{"a folded header", "200", post(`{"data":1}`, "X-A: b", " c")},
}

func TestREST(t *testing.T) {
	s := start(t, "REST", apptest.With(func(c *config.Config) {
		c.Channels.Defaults.HistoryLength, c.Channels.Defaults.HistoryAge = 100, time.Hour
	}))
	secrets.Add("a secret of a request", unique)
	for _, rows := range [][]restRow{restBodies, restQueries, restPaths, restHeaders, restBatches, restTaken, restIgnored, restSecrets} {
		for _, r := range rows {
			s.row(r.name, r.want, func(t *testing.T) string { return s.ask(t, r.request) })
		}
	}
	s.row("gone in the middle of a body", "nothing kept", func(t *testing.T) string {
		for range 20 {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.HTTP, "http://"))
			testkit.Check(t, err)
			_, err = fmt.Fprintf(conn, "POST /v1/channels/open:gone:publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{\"data\":", s.token)
			testkit.Check(t, errors.Join(err, conn.Close()))
		}
		page, err := s.Channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: "channels/open:gone"})
		testkit.Check(t, err)
		if n := len(page.GetMessages()); n > 0 {
			return fmt.Sprint(n, " messages kept")
		}
		return "nothing kept"
	})
}
