package publish_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/trunkline/trunkline/gen/go/trunkline/admin/v1"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/publish"
)

func TestPublish_reportsAllBadFields(t *testing.T) {
	h := start(t, publish.Config{})
	attributes := map[string]string{strings.Repeat("k", 65): "v"}
	_, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{
		To: "users/ada", Data: []byte("{"), Recipients: []string{"ok", "a\nb"}, Attributes: attributes, Ttl: durationpb.New(-time.Second),
		IdempotencyKey: "a b", Sender: &publishv1.Sender{Client: "100%"},
		Ack: &publishv1.AckPolicy{Timeout: durationpb.New(time.Millisecond), MaxDeliveries: 3}, Durability: 99, Replicas: 9,
	})
	var fields []string
	for _, f := range refusal(t, err, bus.ErrFieldInvalid).Fields {
		fields = append(fields, f.Field)
	}
	want := "[data recipients recipients[1] attributes ttl idempotency_key ack.timeout ack.dead_letter sender.client durability replicas]"
	if fmt.Sprint(fields) != want {
		t.Errorf("fields are %v\nwant %s", fields, want)
	}
}

func TestPublish_badInput(t *testing.T) {
	h := start(t, publish.Config{MaxMessage: 1000})
	for name, req := range map[string]*publishv1.PublishRequest{
		"no address": {}, "kind": {To: "rooms/x"}, "system": {To: "system/revoked"}, "empty name": {To: "channels/"}, "space": {To: "channels/a b"},
		"256 bytes": {To: "channels/" + strings.Repeat("x", 256)}, "leading colon": {To: "channels/:a"}, "trailing colon": {To: "channels/a:"},
		"empty part": {To: "channels/a::b"}, "dot": {To: "channels/."}, "dots": {To: "channels/.."}, "slash": {To: "channels/a/b"}, "NUL": {To: "channels/a\x00"},
		"newline": {To: "channels/a\r\nFLUSHALL"}, "star": {To: "channels/a*"}, "brace": {To: "channels/{x}"}, "cyrillic": {To: "channels/\u0430"},
		"dash first": {To: "channels/--help"}, "proto": {To: "channels/__proto__"}, "percent": {To: "channels/%2e"}, "topic": {To: "users/a/topics/"},
		"broadcast with a name": {To: "broadcast/x"}, "star of a user": {To: "users/*"}, "slash of a user": {To: "users/a/b"},
		"percent of a user": {To: "users/100%"}, "tab of a user": {To: "users/a%09b"}, "user not UTF-8": {To: "users/%ff"},
		"JSON twice": {To: "channels/a", Data: []byte("1 2")}, "JSON not UTF-8": {To: "channels/a", Data: []byte("\"\xff\"")},
		"text not UTF-8": {To: "channels/a", Data: []byte("\xff"), ContentType: publishv1.ContentType_CONTENT_TYPE_TEXT},
		"content type":   {To: "channels/a", ContentType: 9}, "ttl 0": {To: "channels/a", Ttl: durationpb.New(0)}, "ttl 100 years": {To: "channels/a", Ttl: durationpb.New(876_000 * time.Hour)},
		"broken duration": {To: "channels/a", Ttl: &durationpb.Duration{Seconds: 1, Nanos: -1}}, "key 129": {To: "channels/a", IdempotencyKey: strings.Repeat("k", 129)},
		"1001 recipients": {To: "channels/a", Recipients: make([]string, 1001)}, "exclude nobody": {To: "channels/a", ExcludeSender: true},
		"durable on live": {To: "channels/live:a", Durability: publishv1.Durability_DURABILITY_ACCEPTED},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.publish.Publish(t.Context(), req)
			e := refusal(t, err, bus.ErrFieldInvalid)
			if len(e.Fields) == 0 || e.Fields[0].Description == "" || strings.Contains(e.Message, "bus.") {
				t.Errorf("refusal is %+v", e)
			}
		})
	}
}

func TestPublish_tooLarge(t *testing.T) {
	h := start(t, publish.Config{MaxMessage: 1000})
	_, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/a", Data: make([]byte, 1001), ContentType: publishv1.ContentType_CONTENT_TYPE_BINARY})
	if e := refusal(t, err, bus.ErrMessageTooLarge); e.Metadata["limit"] != "1000" || e.Metadata["size"] != "1001" || len(e.Fields) != 1 {
		t.Errorf("refusal is %+v", e)
	}
	_, err = h.publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/a", Data: make([]byte, 1000), ContentType: publishv1.ContentType_CONTENT_TYPE_BINARY})
	testkit.Check(t, err)
}

func TestPublish_answers(t *testing.T) {
	h := start(t, publish.Config{})
	live := h.pub("channels/live:a", `1`)
	if live.GetId() == "" || live.GetPosition() != nil || live.GetDurability() != publishv1.Durability_DURABILITY_LIVE {
		t.Errorf("live: %v", live)
	}
	kept := h.pub("channels/a", `1`)
	if kept.GetPosition().GetOffset() != 1 || kept.GetDurability() != publishv1.Durability_DURABILITY_ACCEPTED {
		t.Errorf("durable: %v", kept)
	}
	_, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/made:x"})
	refused(t, err, bus.ErrChannelNotFound)
	t.Run("idempotency", func(t *testing.T) {
		req := &publishv1.PublishRequest{To: "channels/i", Data: []byte(`1`), IdempotencyKey: "k", Attributes: map[string]string{"a": "b"}}
		first, err := h.publish.Publish(t.Context(), req)
		testkit.Check(t, err)
		again, err := h.publish.Publish(t.Context(), req)
		testkit.Check(t, err)
		if first.GetDuplicate() || !again.GetDuplicate() || again.GetId() != first.GetId() || uuid.MustParse(first.GetId()).Version() != 7 || again.GetPosition().GetOffset() != first.GetPosition().GetOffset() {
			t.Errorf("first %v, again %v", first, again)
		}
		req.Attributes["a"] = "c"
		_, err = h.publish.Publish(t.Context(), req)
		refused(t, err, bus.ErrIdempotencyMismatch)
	})
}

func TestPublish_byClients(t *testing.T) {
	h := start(t, publish.Config{})
	ctx := h.as("c1", grant("channels/mine:*", authv1.Action_ACTION_PUBLISH))
	_, err := h.publish.Publish(ctx, &publishv1.PublishRequest{To: "channels/mine:a", Data: []byte(`1`)})
	testkit.Check(t, err)
	page, err := h.channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: "channels/mine:a"})
	testkit.Check(t, err)
	if from := page.GetMessages()[0].GetSender(); from.GetClient() != "c1" || from.GetUser() != "u-c1" {
		t.Errorf("sender is %v", from)
	}
	for _, to := range []string{"channels/other", "users/u-c1", "broadcast", "clients/c1"} {
		_, err := h.publish.Publish(ctx, &publishv1.PublishRequest{To: to})
		refused(t, err, bus.ErrPublishDenied)
	}
	_, err = h.publish.Publish(ctx, &publishv1.PublishRequest{To: "channels/mine:a", Sender: &publishv1.Sender{Client: "c2"}, ExcludeConnection: "x"})
	if e := refusal(t, err, bus.ErrFieldInvalid); len(e.Fields) != 2 {
		t.Errorf("fields are %+v", e.Fields)
	}
	_, err = h.channels.CreateChannel(ctx, &publishv1.CreateChannelRequest{Name: "channels/x"})
	refused(t, err, bus.ErrPermissionDenied)
	_, err = h.channels.ListMessages(ctx, &publishv1.ListMessagesRequest{Address: "channels/mine:a"})
	refused(t, err, bus.ErrHistoryDenied)
	_, err = h.channels.ListMembers(ctx, &publishv1.ListMembersRequest{Address: "channels/mine:a"})
	refused(t, err, bus.ErrPresenceDenied)
}

func TestBatch_answersEachItem(t *testing.T) {
	h := start(t, publish.Config{})
	var reqs []*publishv1.PublishRequest
	for i := range 20 {
		to := "channels/b"
		if i%5 == 4 {
			to = "nowhere"
		}
		reqs = append(reqs, &publishv1.PublishRequest{To: to, Data: fmt.Append(nil, i)})
	}
	resp, err := h.publish.BatchPublish(t.Context(), &publishv1.BatchPublishRequest{Requests: reqs})
	testkit.Check(t, err)
	next := uint64(1)
	for i, r := range resp.GetResults() {
		if i%5 == 4 {
			if r.GetError().GetReason() != "FIELD_INVALID" {
				t.Errorf("item %d is %v", i, r)
			}
			continue
		}
		if r.GetOk().GetPosition().GetOffset() != next {
			t.Errorf("item %d is %v", i, r)
		}
		next++
	}
	if resp.GetRefused() != 4 {
		t.Errorf("%d are refused", resp.GetRefused())
	}
	for _, n := range []int{0, 1001} {
		_, err := h.publish.BatchPublish(t.Context(), &publishv1.BatchPublishRequest{Requests: make([]*publishv1.PublishRequest, n)})
		refused(t, err, bus.ErrFieldInvalid)
	}
}

func TestPublishStream_answersInOrder(t *testing.T) {
	h := start(t, publish.Config{Credits: 16})
	st, err := h.publish.PublishStream(t.Context())
	testkit.Check(t, err)
	first, err := st.Recv()
	testkit.Check(t, err)
	if first.GetCredits() != 16 || len(first.GetResults()) > 0 {
		t.Fatalf("the first answer is %v", first)
	}
	const n = 500
	credits := make(chan struct{}, n+16)
	for range first.GetCredits() {
		credits <- struct{}{}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			<-credits
			to := "channels/long:s"
			if i%100 == 50 {
				to = "nowhere"
			}
			testkit.Check(t, st.Send(&publishv1.PublishStreamRequest{Sequence: uint64(i), Publish: &publishv1.PublishRequest{To: to, Data: fmt.Append(nil, i)}}))
		}
		testkit.Check(t, st.CloseSend())
	})
	next, offset := uint64(0), uint64(0)
	for {
		resp, err := st.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		testkit.Check(t, err)
		if int(resp.GetCredits()) != len(resp.GetResults()) {
			t.Errorf("%d credits for %d results", resp.GetCredits(), len(resp.GetResults()))
		}
		for _, r := range resp.GetResults() {
			if r.GetSequence() != next {
				t.Fatalf("sequence %d, want %d", r.GetSequence(), next)
			}
			next++
			if ok := r.GetResult().GetOk(); ok != nil {
				offset++
				if ok.GetPosition().GetOffset() != offset {
					t.Fatalf("offset %d, want %d", ok.GetPosition().GetOffset(), offset)
				}
			} else if r.GetSequence()%100 != 50 {
				t.Errorf("%d is refused: %v", r.GetSequence(), r)
			}
		}
		for range resp.GetCredits() {
			credits <- struct{}{}
		}
	}
	wg.Wait()
	if next != n || offset != n-5 {
		t.Errorf("%d answers, %d accepted", next, offset)
	}
}

func TestPublishStream_endsOnDrain(t *testing.T) {
	h := start(t, publish.Config{})
	st, err := h.publish.PublishStream(t.Context())
	testkit.Check(t, err)
	_, err = st.Recv()
	testkit.Check(t, err)
	sub, err := h.publish.Subscribe(t.Context())
	testkit.Check(t, err)
	_, err = sub.Header()
	testkit.Check(t, err)
	h.stop()
	_, err = st.Recv()
	refused(t, err, bus.ErrDraining)
	_, err = sub.Recv()
	refused(t, err, bus.ErrDraining)
}

func TestChannels(t *testing.T) {
	h := start(t, publish.Config{})
	resp, err := h.channels.CreateChannel(t.Context(), &publishv1.CreateChannelRequest{Name: "channels/made:a", Labels: map[string]string{"team": "x"}})
	testkit.Check(t, err)
	if !strings.HasPrefix(resp.GetChannelToken(), "tlc_") || len(resp.GetChannelToken()) < 40 || resp.GetChannel().GetLabels()["team"] != "x" {
		t.Errorf("created %v", resp)
	}
	h.pub("channels/made:a", `1`)
	_, err = h.channels.CreateChannel(t.Context(), &publishv1.CreateChannelRequest{Name: "channels/made:a"})
	refused(t, err, bus.ErrChannelExists)
	for _, bad := range []string{"", "users/a", "channels/a/topics/b", "a"} {
		_, err := h.channels.CreateChannel(t.Context(), &publishv1.CreateChannelRequest{Name: bad})
		refused(t, err, bus.ErrFieldInvalid)
	}
	got, err := h.channels.GetChannel(t.Context(), &publishv1.GetChannelRequest{Name: "channels/made:a"})
	testkit.Check(t, err)
	if got.GetChannel().GetCreateTime() == nil {
		t.Errorf("got %v", got)
	}
	for i := range 5 {
		_, err := h.channels.CreateChannel(t.Context(), &publishv1.CreateChannelRequest{Name: fmt.Sprintf("channels/page:%d", i)})
		testkit.Check(t, err)
	}
	var names []string
	for token := ""; ; {
		page, err := h.channels.ListChannels(t.Context(), &publishv1.ListChannelsRequest{PageSize: 2, PageToken: token})
		testkit.Check(t, err)
		for _, c := range page.GetChannels() {
			names = append(names, c.GetName())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(names) != 6 || !slices.IsSorted(names) {
		t.Errorf("names are %v", names)
	}
	_, err = h.channels.DeleteChannel(t.Context(), &publishv1.DeleteChannelRequest{Name: "channels/made:a"})
	testkit.Check(t, err)
	_, err = h.channels.GetChannel(t.Context(), &publishv1.GetChannelRequest{Name: "channels/made:a"})
	refused(t, err, bus.ErrChannelNotFound)
}

func TestListMessages(t *testing.T) {
	h := start(t, publish.Config{})
	for i := range 10 {
		h.pub("channels/h", fmt.Sprint(i))
	}
	collect := func(req *publishv1.ListMessagesRequest) string {
		var all []string
		for {
			page, err := h.channels.ListMessages(t.Context(), req)
			testkit.Check(t, err)
			for _, m := range page.GetMessages() {
				all = append(all, string(m.GetData()))
			}
			if page.GetTop().GetOffset() != 10 {
				t.Errorf("top is %v", page.GetTop())
			}
			if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
				return fmt.Sprint(all)
			}
		}
	}
	if got := collect(&publishv1.ListMessagesRequest{Address: "channels/h", PageSize: 3}); got != "[0 1 2 3 4 5 6 7 8 9]" {
		t.Errorf("upwards: %s", got)
	}
	if got := collect(&publishv1.ListMessagesRequest{Address: "channels/h", PageSize: 3, NewestFirst: true}); got != "[9 8 7 6 5 4 3 2 1 0]" {
		t.Errorf("downwards: %s", got)
	}
	last, err := h.channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: "channels/h", PageSize: 1, NewestFirst: true})
	testkit.Check(t, err)
	epoch := last.GetTop().GetEpoch()
	if got := collect(&publishv1.ListMessagesRequest{Address: "channels/h", After: &publishv1.Position{Epoch: epoch, Offset: 7}}); got != "[7 8 9]" {
		t.Errorf("after 7: %s", got)
	}
	_, err = h.channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: "channels/h", After: &publishv1.Position{Epoch: "x", Offset: 7}})
	refused(t, err, bus.ErrGap)
	for _, bad := range []*publishv1.ListMessagesRequest{
		{},
		{Address: "channels/h", PageSize: -1},
		{Address: "channels/h", PageSize: 1001},
		{Address: "channels/h", PageToken: "x"},
		{Address: "channels/other", PageToken: last.GetNextPageToken(), NewestFirst: true},
		{Address: "channels/h", PageToken: last.GetNextPageToken()},
		{Address: "channels/h", NewestFirst: true, After: &publishv1.Position{Epoch: epoch}},
	} {
		_, err := h.channels.ListMessages(t.Context(), bad)
		refused(t, err, bus.ErrFieldInvalid)
	}
	t.Run("narrowed to recipients", func(t *testing.T) {
		_, err := h.publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/narrow", Data: []byte(`1`), Recipients: []string{"c1"}})
		testkit.Check(t, err)
		for client, want := range map[string]int{"c1": 1, "c2": 0} {
			ctx := h.as(client, grant("channels/*", authv1.Action_ACTION_HISTORY))
			page, err := h.channels.ListMessages(ctx, &publishv1.ListMessagesRequest{Address: "channels/narrow", ForClient: "c1"})
			testkit.Check(t, err)
			if len(page.GetMessages()) != want {
				t.Errorf("%s sees %d", client, len(page.GetMessages()))
			}
		}
	})
}

func TestNodes(t *testing.T) {
	h := start(t, publish.Config{})
	testkit.Check(t, h.store.Beat(t.Context(), bus.Node{Life: "n1", Roles: []string{"edge"}, Version: "1", Started: time.Now(), Connections: 7}))
	resp, err := h.admin.ListNodes(t.Context(), &adminv1.ListNodesRequest{})
	testkit.Check(t, err)
	if n := resp.GetNodes(); len(n) != 1 || n[0].GetName() != "n1" || n[0].GetConnections() != 7 {
		t.Errorf("nodes are %v", n)
	}
	_, err = h.admin.ListNodes(h.as("c"), &adminv1.ListNodesRequest{})
	refused(t, err, bus.ErrPermissionDenied)
}
