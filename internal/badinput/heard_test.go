package badinput_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/refusal"
	"github.com/trunkline/trunkline/internal/testkit"
)

// settled keeps every setting that is a secret. Of a URL it is the password, and of base64 what is inside too.
func settled(v reflect.Value, key string) {
	if secret, ok := reflect.TypeAssert[config.Secret](v); ok {
		text := secret.Reveal()
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			text, _ = u.User.Password()
		}
		secrets.Add(key, text)
		if b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_")); err == nil {
			secrets.Add(key, string(b))
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				settled(v.Field(i), key+"."+f.Name)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			settled(v.Index(i), key)
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			settled(v.Elem(), key)
		}
	}
}

// credential is where a request has what nobody else may see: headers, and parameters of a query.
var credential = regexp.MustCompile(`(?i)(?:(?:authorization|cookie|x-api-key|sec-websocket-protocol): *(?:(?:bearer|basic|digest) +)?|[?&](?:token|access_token|ticket|api_key)=)([^\s&;]+)`)

// sentWith keeps the credentials of a request.
func sentWith(texts ...string) {
	for _, text := range texts {
		if len(text) > 64<<10 {
			continue // an attack by size, and no credential
		}
		for _, found := range credential.FindAllStringSubmatch(text, -1) {
			secrets.Add("a credential of a request", found[1])
			if b, err := base64.StdEncoding.DecodeString(found[1]); err == nil {
				secrets.Add("a password", string(b))
			}
		}
	}
}

// heard is the client's side of gRPC. It keeps secrets that are handed out or sent, and looks for others in all that comes.
type heard struct{ s *suite }

func (heard) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (heard) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (heard) HandleConn(context.Context, stats.ConnStats)                       {}

func (h heard) HandleRPC(_ context.Context, event stats.RPCStats) {
	switch e := event.(type) {
	case *stats.InHeader:
		h.s.overheard("a header of gRPC", fmt.Sprint(e.Header))
	case *stats.InTrailer:
		h.s.overheard("a trailer of gRPC", fmt.Sprint(e.Trailer))
	case *stats.InPayload:
		if m, ok := e.Payload.(proto.Message); ok { // of raw bytes nothing is handed out but what a row asked for
			own := proto.Clone(m) // an answer may hand out a secret, in its place
			harvest(own.ProtoReflect())
			h.s.overheard("a message of gRPC", fmt.Sprint(own))
		}
	case *stats.OutPayload:
		if m, ok := e.Payload.(proto.Message); ok {
			harvest(proto.Clone(m).ProtoReflect())
		}
	}
}

// overheard notes a secret in what came over gRPC.
func (s *suite) overheard(what, text string) {
	if name, form := secrets.Find(text); name != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leaks = append(s.leaks, fmt.Sprintf("%s has %s, %s: %s", what, name, form, cut(text)))
	}
}

// harvest takes out of a message what it hands out or carries, and keeps it: tokens of all kinds, and tickets.
func harvest(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch name := string(f.Name()); {
		case f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				if f.Kind() == protoreflect.MessageKind {
					harvest(v.List().Get(i).Message())
				} else if name == "tokens" {
					secrets.Add(name, v.List().Get(i).String())
				}
			}
		case f.Kind() == protoreflect.MessageKind:
			harvest(v.Message())
		case f.Kind() == protoreflect.StringKind && (name == "token" || name == "refresh_token" || name == "channel_token" || name == "ticket"):
			secrets.Add("a "+name, v.String())
			m.Clear(f)
		}
		return true
	})
}

// dial is apptest.Dial of which everything is heard.
func (s *suite) dial(t *testing.T, key string) *grpc.ClientConn {
	return apptest.Dial(t, s.GRPC, key, grpc.WithStatsHandler(heard{s}))
}

// framed looks at a frame of a WebSocket, and keeps the ticket that it hands out.
func (s *suite) framed(t *testing.T, frame []byte) {
	t.Helper()
	var f struct{ Connected, Ticket struct{ Ticket string } }
	if json.Unmarshal(frame, &f) == nil {
		for _, ticket := range []string{f.Connected.Ticket, f.Ticket.Ticket} {
			secrets.Add("a ticket", ticket)
			frame = []byte(strings.ReplaceAll(string(frame), strconv.Quote(ticket), "")) // it is handed out in its place
		}
	}
	s.told(t, string(frame))
}

// ownStatus are statuses of HTTP that say more than that of a reason: no such route, another method, and a body that is not read.
var ownStatus = map[int]bool{http.StatusNotFound: true, http.StatusMethodNotAllowed: true, http.StatusRequestEntityTooLarge: true}

// agrees fails the test unless a refusal has the status of its reason, says something to people, and names the code of its reason.
func (s *suite) agrees(t *testing.T, status int, body []byte) {
	t.Helper()
	var answer struct {
		Error struct {
			Code    int
			Message string
			Details []struct{ Reason, Domain string }
		}
	}
	if json.Unmarshal(body, &answer) != nil {
		return
	}
	for _, d := range answer.Error.Details {
		if row := refusal.Of(d.Reason); d.Reason != "" && (row.HTTP != status && !ownStatus[status] || d.Domain != "trunkline" || answer.Error.Message == "") {
			t.Errorf("%s is %d, and was answered as %d: %s", d.Reason, row.HTTP, status, cut(string(body)))
		}
	}
}

// beside is a bystander: what it was sent so far.
type beside struct {
	mu  sync.Mutex
	got bytes.Buffer
}

func (b *beside) has(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.got.String(), text)
}

// read keeps what comes until there is no more.
func (s *suite) read(name string, next func() ([]byte, error)) {
	b := &beside{}
	s.beside[name] = b
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			data, err := next()
			if err != nil {
				return
			}
			s.overheard(name, string(data))
			b.mu.Lock()
			b.got.Write(data)
			b.mu.Unlock()
		}
	})
	s.t.Cleanup(reading.Wait)
}

// besides opens bystanders on the other surfaces.
func (s *suite) besides(t *testing.T) {
	t.Helper()
	s.beside = map[string]*beside{}
	for name, open := range map[string]func(*testing.T, bool) *websocket.Conn{"WebSocket, JSON": s.socket, "WebSocket, protobuf": s.binary} {
		ws := open(t, true)
		frame, err := proto.Marshal(subscribing("channels/open:beside"))
		testkit.Check(t, err)
		kind := websocket.BinaryMessage
		if name == "WebSocket, JSON" {
			kind, frame = websocket.TextMessage, []byte(`{"id":2,"subscribe":{"address":"channels/open:beside"}}`)
		}
		testkit.Check(t, ws.WriteMessage(kind, frame))
		_, _, err = ws.ReadMessage() // subscribed
		testkit.Check(t, errors.Join(err, ws.SetReadDeadline(time.Time{})))
		s.read(name, func() ([]byte, error) {
			_, data, err := ws.ReadMessage()
			return data, err
		})
		t.Cleanup(func() { _ = ws.Close() })
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.HTTP+"/v1/channels/open:beside/stream", http.NoBody)
	testkit.Check(t, err)
	req.Header.Set("Authorization", "Bearer "+s.token)
	res, err := pages.Do(req)
	testkit.Check(t, err)
	in := bufio.NewReader(res.Body)
	_, err = in.ReadBytes('\n') // subscribed
	testkit.Check(t, err)
	s.read("REST", func() ([]byte, error) { return in.ReadBytes('\n') })
	t.Cleanup(func() { _ = res.Body.Close() })
}

// served fails the test unless REST serves, and every bystander is sent what it was told to publish.
func (s *suite) served(t *testing.T) {
	t.Helper()
	for _, text := range []string{"c2VydmVkLTE", "c2VydmVkLTI"} {
		s.page(t, http.MethodPost, s.HTTP+"/v1/channels/open:beside:publish", `{"data":"`+text+`"}`)
		for name, b := range s.beside {
			testkit.Eventually(t, "the bystander of "+name+" is served", func() bool { return b.has(text) })
		}
	}
}

// pages keeps no connection.
var pages = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// page asks for a page or publishes as ada, after a test as well.
func (s *suite) page(t *testing.T, method, address, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, address, strings.NewReader(body))
	testkit.Check(t, err)
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := pages.Do(req)
	testkit.Check(t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	testkit.Check(t, err)
	if res.StatusCode != http.StatusOK {
		t.Errorf("%s: %d %s", address, res.StatusCode, cut(string(b)))
	}
	return string(b)
}
