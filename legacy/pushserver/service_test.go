package pushserver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/legacy/pushserver"
)

func serviceOf(cfg pushserver.ServiceConfig) (*pushserver.Service, *memory.Store) {
	store := memory.New(memory.Config{})
	return pushserver.NewService(store, cfg), store
}

func create(t *testing.T, s *pushserver.Service, channel string) string {
	t.Helper()
	made, err := s.CreatePushChannel(t.Context(), &legacyv1.CreatePushChannelRequest{Channel: channel})
	if err != nil {
		t.Fatal(err)
	}
	return made.GetChannelToken()
}

// A token is right, wrong, empty or missing, and no verb takes but the right one.
func TestLegacy_channelPermission(t *testing.T) {
	s, _ := serviceOf(pushserver.ServiceConfig{Open: true})
	token, other := create(t, s, "a"), create(t, s, "b")
	ping := func(token *string) error {
		_, err := s.CheckPushChannel(t.Context(), &legacyv1.CheckPushChannelRequest{Channel: "a", ChannelToken: token})
		return err
	}
	empty, longer, shorter := "", token+"x", token[1:]
	for name, tt := range map[string]struct {
		token *string
		want  *bus.Error
	}{
		"none": {nil, bus.ErrTokenMissing}, "empty": {&empty, bus.ErrPermissionDenied}, "another channel's": {&other, bus.ErrPermissionDenied},
		"longer": {&longer, bus.ErrPermissionDenied}, "shorter": {&shorter, bus.ErrPermissionDenied}, "right": {&token, nil},
	} {
		err := ping(tt.token)
		if tt.want == nil && err != nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if tt.want == nil {
			continue
		}
		wrong := ""
		if tt.token != nil {
			wrong = *tt.token
		}
		if _, err := s.PushMessage(t.Context(), &legacyv1.PushMessageRequest{Channel: "a", ChannelToken: wrong}); !errors.Is(err, bus.ErrPermissionDenied) {
			t.Errorf("push with %s: %v", name, err)
		}
		if _, err := s.DeletePushChannel(t.Context(), &legacyv1.DeletePushChannelRequest{Channel: "a", ChannelToken: wrong}); !errors.Is(err, bus.ErrPermissionDenied) {
			t.Errorf("delete with %s: %v", name, err)
		}
	}
}

// A channel is found after it was made and not before, under any name, and not after it was deleted.
func TestLegacy_channel(t *testing.T) {
	s, store := serviceOf(pushserver.ServiceConfig{Open: true})
	for _, name := range []string{"", "news", "x-", "x-bmV3cw", "a b", strings.Repeat("n", 255), strings.Repeat("n", 256), strings.Repeat("ü", 2000)} {
		check := func(token string) error {
			_, err := s.CheckPushChannel(t.Context(), &legacyv1.CheckPushChannelRequest{Channel: name, ChannelToken: &token})
			return err
		}
		if err := check("x"); !errors.Is(err, bus.ErrChannelNotFound) || err.Error() != `Could not find a WebSocketChannel called "`+name+`"` {
			t.Errorf("%.20q before: %v", name, err)
		}
		token := create(t, s, name)
		if err := check(token); err != nil {
			t.Errorf("%.20q: %v", name, err)
		}
		if _, err := s.CreatePushChannel(t.Context(), &legacyv1.CreatePushChannelRequest{Channel: name}); !errors.Is(err, bus.ErrChannelExists) {
			t.Errorf("%.20q twice: %v", name, err)
		}
		all, err := s.GetPushStatistics(t.Context(), &legacyv1.GetPushStatisticsRequest{})
		if err != nil || len(all.GetChannels()) != 1 || all.GetChannels()[0] != name && len(name) <= 1024 {
			t.Errorf("%.20q is listed as %v, %v", name, all.GetChannels(), err)
		}
		page, err := store.ListChannels(t.Context(), "", 10)
		if err != nil || len(page.Channels) != 1 || len(page.Channels[0].TokenDigest) != 64 || strings.Contains(token, page.Channels[0].TokenDigest) {
			t.Errorf("%.20q is kept as %+v, %v", name, page, err)
		}
		if _, err := s.DeletePushChannel(t.Context(), &legacyv1.DeletePushChannelRequest{Channel: name, ChannelToken: token}); err != nil {
			t.Errorf("delete %.20q: %v", name, err)
		}
		if err := check(token); !errors.Is(err, bus.ErrChannelNotFound) {
			t.Errorf("%.20q after: %v", name, err)
		}
	}
}

// Closed, what is not protected by a channel's token needs a key.
func TestService_closed(t *testing.T) {
	s, _ := serviceOf(pushserver.ServiceConfig{})
	right := rpc.WithCaller(t.Context(), rpc.Backend("key", rpc.ScopeChannels))
	for name, ctx := range map[string]context.Context{"nobody": t.Context(), "another scope": rpc.WithCaller(t.Context(), rpc.Backend("key", rpc.ScopePublish))} {
		if _, err := s.CreatePushChannel(ctx, &legacyv1.CreatePushChannelRequest{Channel: "a"}); !errors.Is(err, bus.ErrTokenMissing) {
			t.Errorf("%s creates: %v", name, err)
		}
		if _, err := s.GetPushStatistics(ctx, &legacyv1.GetPushStatisticsRequest{}); !errors.Is(err, bus.ErrTokenMissing) {
			t.Errorf("%s reads: %v", name, err)
		}
	}
	if _, err := s.CreatePushChannel(right, &legacyv1.CreatePushChannelRequest{Channel: "a"}); err != nil {
		t.Errorf("a key: %v", err)
	}
	if _, err := s.GetPushStatistics(right, &legacyv1.GetPushStatisticsRequest{PageToken: "!"}); !errors.Is(err, bus.ErrFieldInvalid) {
		t.Errorf("a page token that is none: %v", err)
	}
}

// Many channels are listed page by page, each once.
func TestStatistics_pages(t *testing.T) {
	s, _ := serviceOf(pushserver.ServiceConfig{Open: true})
	const n = 2100
	for i := range n {
		create(t, s, fmt.Sprintf("channel %d", i))
	}
	seen := map[string]bool{}
	req := &legacyv1.GetPushStatisticsRequest{}
	for pages := 1; ; pages++ {
		resp, err := s.GetPushStatistics(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range resp.GetChannels() {
			seen[c] = true
		}
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			if pages != 3 || len(seen) != n {
				t.Errorf("%d pages with %d channels", pages, len(seen))
			}
			return
		}
	}
}
