package memory_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
)

// What the store keeps is a copy of what is kept, and not the request, the frame or the header that has it.
func TestStore_keepsCopies(t *testing.T) {
	var in *testkit.Input // that of the present call
	cut := func(format string, i int) string { return in.Cut(fmt.Sprintf(format, i)) }
	address := func(tb testing.TB, format string, i int) bus.Address {
		a, err := bus.ParseAddress(cut(format, i))
		testkit.Check(tb, err)
		return a
	}
	message := func(a bus.Address, i int) bus.Publication {
		return bus.Publication{
			Retention: bus.Retention{Length: 100, Age: time.Hour}, Digest: cut("digest-%d", i),
			Message: bus.Message{
				ID: cut("id-%d", i), To: a, Data: []byte("{}"), ContentType: bus.JSON, From: bus.Sender{Client: cut("c%d", i), User: cut("u%d", i)},
				Attributes: map[string]string{cut("name-%d", i): cut("value-%d", i)}, Recipients: []string{cut("r%d", i)}, ExcludeClient: cut("e%d", i),
			},
		}
	}
	one, err := bus.NewAddress(bus.KindChannels, "one")
	testkit.Check(t, err)
	user, err := bus.NewAddress(bus.KindUsers, "ada")
	testkit.Check(t, err)
	for name, keep := range map[string]func(ctx context.Context, tb testing.TB, s *memory.Store, i int) error{
		"logs": func(ctx context.Context, tb testing.TB, s *memory.Store, i int) error {
			_, err := s.Publish(ctx, bustest.Admit(message(address(tb, "channels/c%d", i), i)))
			return err
		},
		"large data": func(ctx context.Context, tb testing.TB, s *memory.Store, i int) error {
			p := message(address(tb, "channels/c%d", i), i)
			p.Message.Data = append(make([]byte, 0, 1<<20), "{}"...)
			_, err := s.Publish(ctx, bustest.Admit(p))
			return err
		},
		"retained messages": func(ctx context.Context, tb testing.TB, s *memory.Store, i int) error {
			p := message(address(tb, "channels/c%d", i), i)
			p.Retention, p.Retain = bus.Retention{}, time.Hour
			_, err := s.Publish(ctx, bustest.Admit(p))
			return err
		},
		"idempotency keys": func(ctx context.Context, _ testing.TB, s *memory.Store, i int) error {
			p := message(one, i)
			p.IdempotencyKey, p.Publisher, p.Window = cut("key-%d", i), cut("publisher-%d", i), time.Hour
			_, err := s.Publish(ctx, bustest.Admit(p))
			return err
		},
		"states": func(ctx context.Context, tb testing.TB, s *memory.Store, i int) error {
			c := bus.StateChange{Publication: message(address(tb, "channels/c%d", i), i), Value: append(make([]byte, 0, 1<<20), "{}"...), TTL: time.Hour}
			c.IdempotencyKey, c.Publisher, c.Window = cut("key-%d", i), cut("publisher-%d", i), time.Hour
			_, err := s.SetState(ctx, bustest.AdmitState(c))
			return err
		},
		"inboxes": func(ctx context.Context, _ testing.TB, s *memory.Store, i int) error {
			p := message(user, i)
			p.Retention = bus.Retention{}
			p.Ack = &bus.AckTerms{
				Scope: bus.EachDevice, Timeout: time.Hour, Keep: time.Hour, Limit: 10_000, CollapseKey: cut("key-%d", i), Author: cut("author-%d", i),
			}
			if _, err := s.Publish(ctx, bustest.Admit(p)); err != nil {
				return err
			}
			if err := s.MarkSent(ctx, []bus.Ack{{To: user, ID: cut("id-%d", i), Device: cut("d%d", i), Connection: cut("x%d", i), Again: true}}); err != nil {
				return err
			}
			if err := s.MarkDenied(ctx, []bus.Denial{{To: user, ID: cut("id-%d", i), Device: cut("e%d", i), Why: cut("why-%d", i)}}); err != nil {
				return err
			}
			return bus.FirstError(s.Ack(ctx, []bus.Ack{{To: user, ID: cut("id-%d", i), Device: cut("f%d", i)}}))
		},
		"rosters": func(ctx context.Context, tb testing.TB, s *memory.Store, i int) error {
			m := bus.Member{Connection: cut("x%d", i), Client: cut("c%d", i), User: cut("u%d", i), Node: cut("n%d", i), Joined: time.Now()}
			if err := s.Join(ctx, one, m); err != nil {
				return err
			}
			if err := s.Lose(ctx, one, cut("x%d", i), time.Now(), time.Hour); err != nil {
				return err
			}
			return s.Join(ctx, address(tb, "channels/c%d", i), m)
		},
		"revocations": func(ctx context.Context, _ testing.TB, s *memory.Store, i int) error {
			for range 2 { // the second one writes over the first
				if err := s.Revoke(ctx, bus.Subject{Kind: cut("user%.0d", 0), ID: cut("u%d", i)}, time.Time{}, time.Hour); err != nil {
					return err
				}
			}
			return nil
		},
		"tokens": func(ctx context.Context, _ testing.TB, s *memory.Store, i int) error {
			return s.SaveToken(ctx, cut("t%d", i), append(make([]byte, 0, 1<<20), 'x'), time.Hour)
		},
		"families": func(ctx context.Context, _ testing.TB, s *memory.Store, i int) error {
			large := func() []byte { return append(make([]byte, 0, 1<<20), 'x') }
			if err := s.SaveFamily(ctx, cut("f%d", i), cut("a%d", i), large(), time.Hour); err != nil {
				return err
			}
			_, err := s.Exchange(ctx, cut("f%d", i), bus.Exchange{Old: cut("a%d", i), New: cut("b%d", i), Value: large(), TTL: time.Hour, Answer: large(), Window: time.Hour})
			return err
		},
		"channels": func(ctx context.Context, tb testing.TB, s *memory.Store, i int) error {
			return s.CreateChannel(ctx, bus.Channel{
				Address: address(tb, "channels/c%d", i), Created: time.Now(), TokenDigest: cut("t%d", i), Labels: map[string]string{cut("n%d", i): cut("v%d", i)},
			}, 0)
		},
		"values": func(ctx context.Context, _ testing.TB, s *memory.Store, i int) error {
			set := bus.ValueCommand{Owner: cut("o%d", i), Verb: bus.ValueSet, Keys: []string{cut("k%d", i)}, Value: cut("v%d", i), Limit: 10, Keep: time.Hour}
			if _, err := s.Command(ctx, set); err != nil {
				return err
			}
			set.Owner, set.Verb, set.Keys, set.TTL = cut("o%d", i), bus.ValueExpire, []string{cut("k%d", i)}, time.Hour
			_, err := s.Command(ctx, set)
			return err
		},
		"places of readers": func(ctx context.Context, _ testing.TB, s *memory.Store, i int) error {
			if _, _, err := s.Claim(ctx, cut("n%d", i), cut("o%d", i), time.Hour); err != nil {
				return err
			}
			_, err := s.Advance(ctx, cut("n%d", i), cut("o%d", i), bus.Position{Epoch: cut("e%d", i), Offset: 1}, time.Hour)
			return err
		},
		"processes": func(ctx context.Context, _ testing.TB, s *memory.Store, i int) error {
			return s.Beat(ctx, bus.Node{Life: cut("n%d", i), Version: cut("v%d", i), Roles: []string{cut("r%d", i)}})
		},
		"connections": func(ctx context.Context, _ testing.TB, s *memory.Store, i int) error {
			c := bus.Connection{ID: cut("x%d", i), Client: cut("c%d", i), User: cut("u%d", i), Session: cut("s%d", i), Node: cut("n%d", i)}
			return s.Opened(ctx, cut("run-%d", i), []bus.Connection{c})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := memory.New(memory.Config{Events: bustest.Events})
			testkit.KeepsCopies(t, s, func(i int, input *testkit.Input) {
				in = input
				testkit.Check(t, keep(t.Context(), t, s, i))
			})
			in = nil
		})
	}
}
