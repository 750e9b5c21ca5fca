package publish_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/services/publish"

	"github.com/trunkline/trunkline/internal/testkit"
)

// mebibyte is what a page holds at most, unless it is one item.
const mebibyte = 1 << 20

// fits fails the test when a page is larger than any client takes.
func fits(tb testing.TB, page proto.Message, items int) {
	tb.Helper()
	if n := proto.Size(page); items == 0 || items > 1 && n > mebibyte+4096 {
		tb.Errorf("a page of %d items has %d bytes", items, n)
	}
}

// Every mix of sizes comes in order and whole, over pages that fit.
func TestListMessages_PagesEndByBytes(t *testing.T) {
	h := start(t, publish.Config{MaxMessage: 3 << 20})
	sizes := map[string]func(i int) int{
		"large":                func(int) int { return 60_000 },
		"small, then large":    func(i int) int { return 10 + i/70*60_000 },
		"now and then a giant": func(i int) int { return 10 + i%20/19*3_000_000 },
		"small":                func(int) int { return 10 },
	}
	for name, size := range sizes {
		to := "channels/" + strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), ",", "")
		var sent []string
		for i := range 100 {
			sent = append(sent, h.pub(to, fmt.Sprintf(`"%s"`, strings.Repeat("x", size(i)))).GetId())
		}
		for _, newest := range []bool{false, true} {
			for _, most := range []int32{0, 7, 1000} {
				t.Run(fmt.Sprintf("%s %t %d", name, newest, most), func(t *testing.T) {
					var got []string
					pages := 0
					for token := ""; pages == 0 || token != ""; pages++ {
						page, err := h.channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: to, PageSize: most, PageToken: token, NewestFirst: newest})
						testkit.Check(t, err)
						fits(t, page, len(page.GetMessages()))
						if page.GetTop().GetOffset() != 100 {
							t.Errorf("top is %v", page.GetTop())
						}
						for _, m := range page.GetMessages() {
							got = append(got, m.GetId())
						}
						token = page.GetNextPageToken()
					}
					want := slices.Clone(sent)
					if newest {
						slices.Reverse(want)
					}
					if !slices.Equal(got, want) {
						t.Errorf("got %d of %d messages in %d pages, or in another order", len(got), len(want), pages)
					}
					if name == "small" && most != 7 && pages != 1 {
						t.Errorf("small messages took %d pages", pages)
					}
				})
			}
		}
	}
}

func TestListInbox_PagesEndByBytes(t *testing.T) {
	h := start(t, publish.Config{})
	var sent, got []string
	for range 100 {
		r, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{
			To: "users/auth0%7C5f", Data: []byte(`"` + strings.Repeat("x", 60_000) + `"`), Ack: &publishv1.AckPolicy{},
		})
		testkit.Check(t, err)
		sent = append(sent, r.GetId())
	}
	pages := 0
	for token := ""; pages == 0 || token != ""; pages++ {
		page, err := h.inboxes.ListInbox(t.Context(), &publishv1.ListInboxRequest{Address: "users/auth0|5f", PageToken: token})
		testkit.Check(t, err)
		fits(t, page, len(page.GetEntries()))
		for _, e := range page.GetEntries() {
			got = append(got, e.GetMessage().GetId())
		}
		token = page.GetNextPageToken()
	}
	if !slices.Equal(got, sent) || pages < 6 {
		t.Errorf("%d of %d messages, in %d pages", len(got), len(sent), pages)
	}
}

func TestListMessages_PagesOfWhatIsNarrowed(t *testing.T) {
	h := start(t, publish.Config{})
	var mine []string
	for i := range 60 {
		to := []string{"somebody"}
		if i%10 == 3 {
			to = []string{"c1"}
		}
		r, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/narrow", Data: []byte(`"` + strings.Repeat("x", 60_000) + `"`), Recipients: to})
		testkit.Check(t, err)
		if to[0] == "c1" {
			mine = append(mine, r.GetId())
		}
	}
	ctx := h.as("c1", grant("channels/narrow", authv1.Action_ACTION_HISTORY))
	var got []string
	for token, first := "", true; first || token != ""; first = false {
		page, err := h.channels.ListMessages(ctx, &publishv1.ListMessagesRequest{Address: "channels/narrow", PageSize: 25, PageToken: token})
		testkit.Check(t, err)
		for _, m := range page.GetMessages() {
			got = append(got, m.GetId())
		}
		token = page.GetNextPageToken()
	}
	if !slices.Equal(got, mine) {
		t.Errorf("got %d of %d", len(got), len(mine))
	}
}

func TestListChannels_PagesEndByBytes(t *testing.T) {
	h := start(t, publish.Config{})
	labels := map[string]string{}
	for i := range 32 {
		labels[fmt.Sprintf("%064d", i)] = strings.Repeat("x", 1024)
	}
	for i := range 90 {
		_, err := h.channels.CreateChannel(t.Context(), &publishv1.CreateChannelRequest{Name: fmt.Sprintf("channels/c%03d", i), Labels: labels})
		testkit.Check(t, err)
	}
	var got []string
	for token, first := "", true; first || token != ""; first = false {
		page, err := h.channels.ListChannels(t.Context(), &publishv1.ListChannelsRequest{PageSize: 1000, PageToken: token})
		testkit.Check(t, err)
		fits(t, page, len(page.GetChannels()))
		for _, c := range page.GetChannels() {
			got = append(got, c.GetName())
		}
		token = page.GetNextPageToken()
	}
	if len(got) != 90 || !slices.IsSorted(got) {
		t.Errorf("got %d channels", len(got))
	}
}

// A thousand items may be wrong in a thousand ways each. The answer still fits, and says of each that it is refused.
func TestBatchPublish_AnswersFit(t *testing.T) {
	h := start(t, publish.Config{})
	bad := make([]string, 1000)
	for i := range bad {
		bad[i] = "\x01"
	}
	reqs := make([]*publishv1.PublishRequest, 1000)
	for i := range reqs {
		reqs[i] = &publishv1.PublishRequest{To: "channels/ a", IdempotencyKey: strings.Repeat("\x7f", 129), Recipients: bad}
	}
	resp, err := h.publish.BatchPublish(t.Context(), &publishv1.BatchPublishRequest{Requests: reqs})
	testkit.Check(t, err)
	if n := proto.Size(resp); n > mebibyte || resp.GetRefused() != 1000 {
		t.Errorf("the answer has %d bytes, and %d refusals", n, resp.GetRefused())
	}
	for i, r := range resp.GetResults() {
		if r.GetError().GetReason() != "FIELD_INVALID" || r.GetError().GetMessage() == "" {
			t.Fatalf("item %d: %v", i, r)
		}
	}
	if len(resp.GetResults()[0].GetError().GetFieldViolations()) < 3 {
		t.Errorf("the first names %v", resp.GetResults()[0].GetError().GetFieldViolations())
	}
}
