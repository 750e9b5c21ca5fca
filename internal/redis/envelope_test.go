package redis //nolint:testpackage // the envelope is private to the store

import (
	"reflect"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	wirev1 "github.com/trunkline/trunkline/gen/go/trunkline/wire/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

func full() bus.Message {
	return bus.Message{
		ID: "id", To: bus.Broadcast, From: bus.Sender{Client: "c", User: "u"}, Data: []byte{0, '\n', 255}, ContentType: bus.Binary,
		Attributes: map[string]string{"a": "1", "": "", "b": "2"}, Recipients: []string{"x", "y"}, ExcludeClient: "e", ExcludeConnection: "f",
		Published: time.UnixMilli(1_700_000_000_001), Expires: time.UnixMilli(1_700_000_060_001),
	}
}

// The envelope written by hand is the contract's.
func TestEnvelope_agreesWithTheContract(t *testing.T) {
	m := full()
	got := new(wirev1.Envelope)
	if err := proto.Unmarshal(encode(&m), got); err != nil {
		t.Fatal(err)
	}
	want := &wirev1.Envelope{
		Id: "id", Data: m.Data, ContentType: 3, PublishTimeMs: 1_700_000_000_001, TtlMs: 60_000, FromClient: "c", FromUser: "u",
		Recipients: m.Recipients, ExcludeClient: "e", ExcludeConnection: "f", Attributes: m.Attributes,
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	b, err := proto.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	back := bus.Message{To: m.To}
	if err := decode(append(b, 0xa0, 0x06, 1), 0, &back); err != nil { // field 100 is of a later version
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, m) {
		t.Errorf("got %+v\nwant %+v", back, m)
	}
}

// The time that stands outside comes from Redis, and counts; what ends, ends so long after it.
func TestEnvelope_takesTheTimeOfTheServer(t *testing.T) {
	m := full()
	envelope := string(encode(&m))
	at := m.Published.Add(11 * time.Minute)
	pushed, _, err := decodePush(bus.Broadcast, []byte("e 1 "+strconv.FormatInt(at.UnixMilli(), 10)+"\n"+envelope))
	if err != nil {
		t.Fatal(err)
	}
	entry, err := decodeEntry(bus.Broadcast, "e", "1-"+strconv.FormatInt(at.UnixMilli(), 10), envelope)
	if err != nil {
		t.Fatal(err)
	}
	if !pushed.Published.Equal(at) || !pushed.Expires.Equal(at.Add(time.Minute)) || !reflect.DeepEqual(pushed, entry) {
		t.Errorf("pushed %+v\nkept   %+v", pushed, entry)
	}
}

func FuzzEnvelope(f *testing.F) {
	m := full()
	f.Add("e 1\n" + string(encode(&m)))
	f.Add("e 1 1700000000001\n" + string(encode(&m)))
	f.Add("\n" + string(encode(&m)))
	f.Fuzz(func(t *testing.T, payload string) {
		got, _, err := decodePush(bus.Broadcast, []byte(payload))
		if err == nil && (got.ID == "" || got.To != bus.Broadcast) {
			t.Errorf("accepted %q as %+v", payload, got)
		}
	})
}
