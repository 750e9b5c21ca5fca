package redis_test

import (
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	wirev1 "github.com/trunkline/trunkline/gen/go/trunkline/wire/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

// What stands in the log of revocations and is none is dropped and counted. One that another program has written is believed: whoever may
// write to Redis may revoke, and revoking lets nobody in.
func TestInput_ofTheRevocations(t *testing.T) {
	s, _, raw, counted, _ := dirty(t)
	ctx := t.Context()
	testkit.Check(t, s.Revoke(ctx, bus.Subject{Kind: bus.SubjectUser, ID: "ada"}, time.Time{}, time.Hour))
	top, err := raw.HGet(ctx, "tl:{system/revoked}:m", "o").Int()
	testkit.Check(t, err)
	bad := []string{
		`{}`, `[1]`, `"user"`, `1`, `{"before":1,"kind":"nobody","id":"ada"}`, `{"before":1,"kind":"user"}`, `{"before":1,"kind":"all","id":"ada"}`,
		`{"before":"soon","kind":"user","id":"ada"}`, `{"before":1,"kind":"user","id":"a\u0000b"}`, `{"before":1,"kind":"user","id":["ada"]}`, `{"before":1,"kind":"lost","id":"x"}`,
	}
	for i, data := range append(bad, `{"before":1,"kind":"user","id":"eve"}`) {
		envelope, err := proto.Marshal(&wirev1.Envelope{Id: fmt.Sprintf("forged-%d", i), Data: []byte(data), ContentType: 1, PublishTimeMs: 1})
		testkit.Check(t, err)
		top++
		id := fmt.Sprintf("%d-%d", top, time.Now().UnixMilli())
		testkit.Check(t, raw.XAdd(ctx, &goredis.XAddArgs{Stream: "tl:{system/revoked}:s", ID: id, Values: []any{"m", envelope}}).Err())
	}
	testkit.Check(t, raw.HSet(ctx, "tl:{system/revoked}:m", "o", top).Err())
	page, err := s.Since(ctx, bus.Revoked, bus.RevocationLog, bus.Position{}, 100)
	testkit.Check(t, err)
	var got []string
	for _, m := range page.Messages {
		if m.Kind != bus.MessageMark {
			got = append(got, string(m.Data))
		}
	}
	if len(got) < 2 || got[len(got)-1] != `{"before":1,"kind":"user","id":"eve"}` || len(got) > top-len(bad) {
		t.Errorf("followers hear %q", got)
	}
	if n := counted("revocation"); n != len(bad) {
		t.Errorf("%d are counted, of %d", n, len(bad))
	}
}
