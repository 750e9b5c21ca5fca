package relay_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/uuid"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/services/relay"
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
		{`{"uuid_remote":"../x","message":1}`, "", "", ``, false},
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
	f.Fuzz(func(t *testing.T, record []byte) {
		if m, ok := relay.Map(record); ok && len(m.Data) > 0 && !json.Valid(m.Data) {
			t.Errorf("%q is not JSON", m.Data)
		}
	})
}

func TestServer(t *testing.T) {
	store := memory.New(memory.Config{})
	s := relay.New(store, relay.Config{Open: true})
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
	shut := relay.New(store, relay.Config{})
	if _, err := shut.CreateRelayToken(t.Context(), &legacyv1.CreateRelayTokenRequest{}); !errors.Is(err, bus.ErrMethodDisabled) {
		t.Errorf("shut: %v", err)
	}
}
