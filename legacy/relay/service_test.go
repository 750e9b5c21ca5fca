package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/legacy/relay"
)

func TestMap(t *testing.T) {
	for _, tc := range []struct {
		record, to, from, data string
		ok                     bool
	}{
		{`{"uuid_remote":"r","uuid_local":"l","message":"hi"}`, "clients/r", "l", `"hi"`, true},
		{`{"uuid_remote":"r","message":{"a":[1]},"more":1}`, "clients/r", "", `{"a":[1]}`, true},
		{`{"uuid_remote":"r"}`, "clients/r", "", ``, true},
		{`{"uuid_remote":"r","message":null}`, "clients/r", "", `null`, true},
		{`{"uuid_remote":"r","uuid_local":{"x":1},"message":1}`, "clients/r", "", `1`, true},
		{`{"uuid_remote":"../x","uuid_local":"a|b","message":1}`, "clients/..%2Fx", "a%7Cb", `1`, true},
		{`{"uuid_remote":"a%2Fb","message":1}`, "clients/a%252Fb", "", `1`, true}, // no escape: the older protocol has none
		{`{"uuid_remote":"a\nb","message":1}`, "", "", ``, false},
		{`{"uuid_remote":7}`, "", "", ``, false},
		{`{}`, "", "", ``, false},
		{`null`, "", "", ``, false},
		{`[]`, "", "", ``, false},
		{`{`, "", "", ``, false},
		{``, "", "", ``, false},
	} {
		m, ok := relay.Map([]byte(tc.record))
		if ok != tc.ok {
			t.Errorf("%s: %v", tc.record, ok)
			continue
		}
		if ok && (m.To.String() != tc.to || m.From.Client != tc.from || string(m.Data) != tc.data || m.ContentType != bus.JSON || m.ID == "") {
			t.Errorf("%s became %+v", tc.record, m)
		}
	}
}

func FuzzMap(f *testing.F) {
	f.Add([]byte(`{"uuid_remote":"r","uuid_local":"l","message":"hi"}`))
	f.Add([]byte("{\"uuid_remote\":\"r\",\"message\":\"\xff\"}"))
	f.Add([]byte(`{"uuid_remote":"r","message":"\ud800"}`))
	f.Add([]byte(`[[[[[[`))
	f.Fuzz(func(t *testing.T, record []byte) {
		m, ok := relay.Map(record)
		if ok && len(m.Data) > 0 && (!json.Valid(m.Data) || !utf8.Valid(m.Data)) {
			t.Errorf("%q is not JSON in UTF-8", m.Data)
		}
		if ok && m.To.Kind() != bus.KindClients {
			t.Errorf("it goes to %s", m.To)
		}
	})
}

func TestServer(t *testing.T) {
	store := memory.New(memory.Config{})
	s := relay.NewService(store, relay.ServiceConfig{Open: true})
	token, err := s.CreateRelayToken(t.Context(), &legacyv1.CreateRelayTokenRequest{})
	if err != nil || uuid.Validate(token.GetToken()) != nil {
		t.Fatalf("got %v, %v", token, err)
	}
	for text, want := range map[string]bool{token.GetToken(): true, uuid.NewString(): false, "": false, "../auth/" + token.GetToken(): false} {
		resp, err := s.CheckRelayToken(t.Context(), &legacyv1.CheckRelayTokenRequest{Token: text})
		if err != nil || resp.GetAuth() != want {
			t.Errorf("%q: %v, %v", text, resp.GetAuth(), err)
		}
	}
	for record, reason := range map[string]error{`{"uuid_remote":"r"}`: nil, `{"uuid_remote":"nobody at all"}`: nil, `[]`: nil, `{`: bus.ErrInvalidJSON} {
		_, err := s.PublishArticle(t.Context(), &legacyv1.PublishArticleRequest{Record: []byte(record)})
		if !errors.Is(err, reason) {
			t.Errorf("%s: %v", record, err)
		}
	}
	if _, err := s.PublishArticle(t.Context(), &legacyv1.PublishArticleRequest{Record: make([]byte, 200<<10)}); !errors.Is(err, bus.ErrMessageTooLarge) {
		t.Errorf("a large record: %v", err)
	}
	shut := relay.NewService(store, relay.ServiceConfig{})
	if _, err := shut.CreateRelayToken(t.Context(), &legacyv1.CreateRelayTokenRequest{}); !errors.Is(err, bus.ErrTokenMissing) {
		t.Errorf("shut: %v", err)
	}
}

// bridge is a store that talks to older programs, and one that remembers what it sent.
type bridge struct {
	*memory.Store
	channel string
	record  string
	err     error
}

var _ bus.Bridge = (*bridge)(nil)

func (b *bridge) PublishRecord(_ context.Context, channel string, in bus.AdmittedRecord) error {
	b.channel, b.record = channel, string(in.Record())
	return b.err
}

// Where the store bridges, the record goes out as it came: older edges and our own read it there.
func TestPublishArticle_overABridge(t *testing.T) {
	store := &bridge{Store: memory.New(memory.Config{})}
	s := relay.NewService(store, relay.ServiceConfig{Open: true})
	record := `{"uuid_remote":"r","message":1,"unknown":[2]}`
	resp, err := s.PublishArticle(t.Context(), &legacyv1.PublishArticleRequest{Record: []byte(record)})
	if err != nil || !resp.GetStatus() || store.channel != relay.Article || store.record != record {
		t.Errorf("got %v, %v; %s on %s", resp, err, store.record, store.channel)
	}
	store.err = bus.ErrStoreUnavailable
	if resp, err := s.PublishArticle(t.Context(), &legacyv1.PublishArticleRequest{Record: []byte(record)}); !errors.Is(err, bus.ErrStoreUnavailable) || resp.GetStatus() {
		t.Errorf("the store is away: %v, %v", resp, err)
	}
}

// heard is told what arrives.
type heard chan *bus.Message

func (h heard) Deliver(m *bus.Message) { h <- m }

func (h heard) Interrupted([]bus.Address) {}

// Without a bridge the record reaches the client that it names.
func TestPublishArticle_inMemory(t *testing.T) {
	store := memory.New(memory.Config{})
	got := make(heard, 1)
	feed := store.NewFeed()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- feed.Run(ctx, got) }()
	to, err := bus.ParseAddress("clients/r")
	if err != nil {
		t.Fatal(err)
	}
	if err := feed.Subscribe(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	s := relay.NewService(store, relay.ServiceConfig{Open: true})
	resp, err := s.PublishArticle(t.Context(), &legacyv1.PublishArticleRequest{Record: []byte(`{"uuid_remote":"r","uuid_local":"l","message":{"a":1}}`)})
	if err != nil || !resp.GetStatus() {
		t.Fatalf("got %v, %v", resp, err)
	}
	if m := <-got; string(m.Data) != `{"a":1}` || m.From.Client != "l" || m.To != to {
		t.Errorf("message is %+v", m)
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
