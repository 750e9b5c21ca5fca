package redis //nolint:testpackage // the readers are private to the store

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	wirev1 "github.com/trunkline/trunkline/gen/go/trunkline/wire/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// mayBeTold fails for a message that no client may be given.
func mayBeTold(t *testing.T, m *bus.Message) {
	t.Helper()
	texts := append([]string{m.ID, m.From.Client, m.From.User, m.ExcludeClient, m.ExcludeConnection}, m.Recipients...)
	for name, value := range m.Attributes {
		texts = append(texts, name)
		if !utf8.ValidString(value) {
			t.Errorf("an attribute is %q", value)
		}
	}
	for _, s := range texts {
		if !utf8.ValidString(s) || len(s) > 1000 || strings.ContainsAny(s, "\x00\r\n") {
			t.Errorf("a text of the message is %.200q", s)
		}
	}
	if m.ID == "" || m.ContentType == bus.JSON && len(m.Data) > 0 && !json.Valid(m.Data) || m.ContentType != bus.Binary && !utf8.Valid(m.Data) {
		t.Errorf("the message is %+v", m)
	}
	mayBeTime(t, m.Published)
	mayBeTime(t, m.Expires)
}

func mayBeTime(t *testing.T, at time.Time) {
	t.Helper()
	if !at.IsZero() && (at.UTC().Year() < 1970 || at.UTC().Year() > 9999) {
		t.Errorf("a time is %v", at)
	}
}

// FuzzEntry reads an entry of a log, and what was pushed with the same envelope. Both are the same message at the same address. The
// contract reads the envelope as the same, and a message that is written is read again as it was.
func FuzzEntry(f *testing.F) {
	f.Fuzz(func(t *testing.T, id, envelope string) {
		m, err := decodeEntry(bus.Broadcast, "e", id, envelope)
		if m == nil || m.To != bus.Broadcast || m.Position.Epoch != "e" {
			t.Fatalf("an entry without its place: %+v", m)
		}
		if err != nil {
			return
		}
		mayBeTold(t, m)
		offset, ms, _ := strings.Cut(id, "-")
		if pushed, _, err := decodePush(bus.Broadcast, []byte("e "+offset+" "+ms+"\n"+envelope)); err == nil && !reflect.DeepEqual(pushed, m) {
			t.Errorf("pushed %+v\nkept   %+v", pushed, m)
		}
		want := new(wirev1.Envelope)
		if err := proto.Unmarshal([]byte(envelope), want); err != nil {
			// A wrong type at a known field is a field of a later version to both. The library is stricter about text alone.
			if !strings.Contains(err.Error(), "UTF-8") {
				t.Errorf("%q is taken, and the library says %v", envelope, err)
			}
			return
		}
		if want.GetId() != m.ID || string(want.GetData()) != string(m.Data) || want.GetFromUser() != m.From.User || want.GetFromClient() != m.From.Client ||
			len(want.GetAttributes()) != len(m.Attributes) || len(want.GetRecipients()) != len(m.Recipients) {
			t.Errorf("%q is %+v, by the contract %v", envelope, m, want)
		}
		again := &bus.Message{To: m.To, Position: m.Position}
		if err := decode(encode(m), millis(m.Published), again); err != nil {
			t.Fatalf("%+v is written and cannot be read: %v", m, err)
		}
		if !m.Published.IsZero() && !reflect.DeepEqual(again, m) {
			t.Errorf("%+v\nis read again as %+v", m, again)
		}
	})
}

// answering is a store that is asked nothing: only its readers are used.
func answering() *Store {
	s := &Store{cfg: Config{MaxMessage: 1000}, garbage: newGarbage(nil, slog.New(slog.DiscardHandler))}
	s.heldUp = newHeldUp(s)
	s.heldUp.close() // it takes nothing on then
	return s
}

// asked is a command that was answered with a list.
func asked(values ...any) *redis.Cmd {
	cmd := redis.NewCmd(context.Background())
	cmd.SetVal(values)
	return cmd
}

func mayBePosition(t *testing.T, p bus.Position) {
	t.Helper()
	if p.Epoch != "" && !epochText(p.Epoch) {
		t.Errorf("an epoch is %q", p.Epoch)
	}
}

// fails says that an error is a refusal which is answered as retryable, or one that a publisher is told.
func fails(t *testing.T, err error) {
	t.Helper()
	if e, ok := errors.AsType[*bus.Error](err); err != nil && (!ok || e.Reason == bus.ErrInternal.Reason) {
		t.Errorf("the error is %v", err)
	}
}

// FuzzAnswers gives the readers of what our scripts answer any texts. What comes of them can be told to a client, or is refused.
func FuzzAnswers(f *testing.F) {
	s := answering()
	to, err := bus.ParseAddress("channels/a")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b, c, d, e, more string) {
		for _, list := range [][]any{{a, b, c, d, e, more}, {a, b, c}, {a, b}, {a}, {}} {
			var r bus.Receipt
			p := bus.Publication{Message: bus.Message{To: to, ID: "id"}}
			fails(t, s.readReceipt(asked(list...), &p, &r))
			mayBePosition(t, r.Position)
			mayBeTime(t, r.Published)
			if !plainText(r.ID) {
				t.Errorf("an id is %q", r.ID)
			}
			settled, err := s.readSettlement(asked(list...), to)
			fails(t, err)
			mayBeTime(t, settled.Next)
			if again, err := readShown(asked(list...)); err == nil && again {
				t.Error("shown, and to be tried again")
			}
			if u, ok := readUnproved(asked(list...)); ok && (len(list) != 6 || list[0] != "prove") {
				t.Errorf("%q is no proof that is asked for: %+v", list, u)
			}
		}
		verdict, err := s.readVerdict(asked(a, []any{b, c, d, e, more, a}), bus.Due{To: to, ID: "id"})
		fails(t, err)
		mayBeTime(t, verdict.At)
		delivery := deliveryOf(to, "id", map[string]string{"s": a, "p": b, "a": c, "x": d, "en": e, "dl": more, "d": a, "n": b})
		for _, at := range []time.Time{delivery.Published, delivery.Deadline, delivery.Expires, delivery.Ended} {
			mayBeTime(t, at)
		}
		top := &topsCall{store: s, addresses: []bus.Address{to}, tops: make([]bus.Position, 1), errs: make([]error, 1)}
		top.note(0, []string{a, b, c}, 0, nil)
		mayBePosition(t, top.tops[0])
		mayBePosition(t, births{epoch: a, past: more, told: s.epoch}.position(offsetOf(b)))
		if heard, err := heardOf(asked(a, b, c, d, e)); err == nil && len(heard) > 2 {
			t.Errorf("%d nodes are heard of", len(heard))
		}
	})
}

// FuzzKept reads the records that are kept as JSON. What is taken is of its own key, and can be told.
func FuzzKept(f *testing.F) {
	s := answering()
	to, err := bus.ParseAddress("channels/a")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		if m, ok := s.member(to, key, value); ok {
			if err := timestamppb.New(m.Joined).CheckValid(); err != nil || m.Connection != key {
				t.Errorf("%q is %+v, %v", key, m, err)
			}
		}
		cmd := redis.NewStringCmd(context.Background())
		cmd.SetVal(value)
		if c, ok := s.readChannel(to, cmd); ok {
			if err := timestamppb.New(c.Created).CheckValid(); err != nil || c.Address != to {
				t.Errorf("%q is %+v, %v", value, c, err)
			}
		}
		if s.stateful(to, []byte(value)) && (!json.Valid([]byte(value)) || len(value) > leastMost) {
			t.Errorf("%q is a state", value)
		}
		if revokes(&bus.Message{Data: []byte(value)}) {
			var r bus.Revocation
			if err := json.Unmarshal([]byte(value), &r); err != nil || !plainText(r.ID) || r.Kind == "" {
				t.Errorf("%q revokes %+v, %v", value, r, err)
			}
		}
	})
}
