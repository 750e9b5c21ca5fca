package app_test

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// keeping sends one message to a channel, and returns the setting that refuses it; empty for none.
func keeping(t *testing.T, s publishv1.PublishServiceClient, channel string) string {
	t.Helper()
	_, err := s.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/" + channel, Data: []byte("1")})
	if err == nil {
		return ""
	}
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetReason() == "QUOTA_EXCEEDED" && info.GetMetadata()["account"] == "namespace" {
			return info.GetMetadata()["setting"]
		}
	}
	t.Fatal(errors.Unwrap(err), err)
	return ""
}

var fewAddresses = apptest.With(func(c *config.Config) {
	few := 20
	c.Channels.Defaults.Kept = 30
	c.Channels.Namespaces = map[string]config.ChannelRule{"few": {Kept: &few}}
})

// A namespace keeps as many addresses as it may, and what is kept goes on, also in a process that has just begun.
func TestQuotas_ofAddressesThatAreKept(t *testing.T) {
	full := func(t *testing.T, s publishv1.PublishServiceClient, prefix string, most int, setting string) {
		t.Helper()
		for i := range most + 10 {
			want := ""
			if i >= most {
				want = setting
			}
			if got := keeping(t, s, fmt.Sprint(prefix, i)); got != want {
				t.Fatalf("%s%d is refused for %q, want %q", prefix, i, got, want)
			}
		}
		for i := range most {
			if got := keeping(t, s, fmt.Sprint(prefix, i)); got != "" {
				t.Fatalf("%s%d, which is kept, is refused for %q", prefix, i, got)
			}
		}
	}
	fill := func(t *testing.T, h *apptest.Deployment) {
		t.Helper()
		full(t, h.Publish, "few:", 20, "channels.namespaces.few.addresses")
		full(t, h.Publish, "other", 30, "channels.defaults.addresses")
	}
	t.Run("memory", func(t *testing.T) { fill(t, apptest.Start(t, fewAddresses)) })
	t.Run("redis", func(t *testing.T) {
		h := apptest.Start(t, fewAddresses, apptest.Redis(redistest.Start(t).URL()), apptest.Split(1))
		fill(t, h)
		another := h.Processes[1].Config
		another.Node = ""
		late := publishv1.NewPublishServiceClient(apptest.Dial(t, h.Start(t, another).GRPC, h.AdminKey))
		n := 0
		testkit.Eventually(t, "the other process knows that the namespace is full", func() bool {
			n++
			return keeping(t, late, fmt.Sprint("few:new", n)) != ""
		})
		for i := range 20 {
			if got := keeping(t, late, fmt.Sprint("few:", i)); got != "" {
				t.Errorf("few:%d, which is kept, is refused by the other process for %q", i, got)
			}
		}
	})
}
