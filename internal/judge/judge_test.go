package judge_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trunkline/trunkline/internal/judge"
)

// story makes a record by hand. Each line has its actor, so that lines of different ones can change places.
type story struct {
	at     int64
	events []judge.Event
	actors []string
}

func (s *story) add(actor string, e judge.Event) *judge.Event {
	if e.At == 0 {
		s.at += 1000
		e.At = s.at
	}
	s.events = append(s.events, e)
	s.actors = append(s.actors, actor)
	return &s.events[len(s.events)-1]
}

const (
	news  = "channels/news"
	inbox = "users/ada"
)

// at is a position in the first epoch.
func at(seq int) judge.Position { return judge.Position{Epoch: "e1", Seq: uint64(seq)} }

func key(n int) string { return fmt.Sprintf("k%02d", n) }

func (s *story) sent(address string, n int) {
	s.add("publisher", judge.Event{Kind: judge.Sent, Who: "p", Address: address, Key: key(n), Digest: "d" + key(n), Inbox: address == inbox})
}

func (s *story) publish(address string, n, seq int) {
	s.sent(address, n)
	s.add("publisher", judge.Event{Kind: judge.Answered, Who: "p", Address: address, Key: key(n), Position: at(seq)})
}

func (s *story) deliver(who, session, address string, n, seq int) {
	s.add(who, judge.Event{
		Kind: judge.Delivered, Who: who, Session: session, Address: address, Key: key(n), Position: at(seq), Digest: "d" + key(n),
		Origin: address, Inbox: address == inbox,
	})
}

func (s *story) subscribe(who, session, address string, after int, resumed bool) {
	s.add(who, judge.Event{
		Kind: judge.Subscribed, Who: who, Session: session, Address: address, Position: at(after), From: at(after), Resumed: resumed, Recovered: resumed,
		App: who == "app",
	})
}

// clean is a record in which every promise is kept. A channel has a subscriber that leaves and resumes, and one that stays. One
// publish was refused, and one was repeated. An inbox has two devices.
func clean() *story {
	s := &story{}
	s.subscribe("stays", "s1", news, 0, false)
	s.subscribe("app", "a1", news, 0, false)
	for n := 1; n <= 4; n++ {
		s.publish(news, n, n)
		s.deliver("stays", "s1", news, n, n)
		s.deliver("app", "a1", news, n, n)
	}
	s.sent(news, 20)
	s.add("publisher", judge.Event{Kind: judge.Refused, Who: "p", Address: news, Key: key(20), Reason: "RATE_LIMITED"})
	s.sent(news, 5)
	s.add("publisher", judge.Event{Kind: judge.Unknown, Who: "p", Address: news, Key: key(5), Reason: "DEADLINE_EXCEEDED"})
	s.add("publisher", judge.Event{Kind: judge.Answered, Who: "p", Address: news, Key: key(5), Position: at(5), Repeat: true})
	s.publish(news, 6, 6)
	for n := 5; n <= 6; n++ {
		s.deliver("stays", "s1", news, n, n)
	}
	s.add("app", judge.Event{Kind: judge.Unsubscribed, Who: "app", Session: "a1", Address: news})
	s.subscribe("app", "a2", news, 4, true)
	for n := 5; n <= 6; n++ {
		s.deliver("app", "a2", news, n, n)
	}
	for _, device := range []string{"phone", "desk"} {
		s.subscribe(device, device+"1", inbox, 0, false)
	}
	for n := 11; n <= 13; n++ {
		s.publish(inbox, n, n)
		s.deliver("phone", "phone1", inbox, n, n)
	}
	s.add("phone", judge.Event{Kind: judge.Acked, Who: "phone", Address: inbox, Key: key(11)})
	s.subscribe("phone", "phone2", inbox, 0, false)
	for n := 12; n <= 13; n++ {
		s.deliver("phone", "phone2", inbox, n, n)
		s.last().Redelivered = true
	}
	for _, who := range []string{"stays", "app"} {
		s.add(who, judge.Event{Kind: judge.Finished, Who: who, Address: news})
	}
	s.add("phone", judge.Event{Kind: judge.Finished, Who: "phone", Address: inbox})
	s.add("desk", judge.Event{Kind: judge.Finished, Who: "desk", Address: inbox})
	return s
}

func (s *story) last() *judge.Event { return &s.events[len(s.events)-1] }

// find returns the place of a delivery.
func (s *story) find(who string, n int) int {
	return slices.IndexFunc(s.events, func(e judge.Event) bool { return e.Kind == judge.Delivered && e.Who == who && e.Key == key(n) })
}

func (s *story) drop(i int) {
	s.events = slices.Delete(s.events, i, i+1)
	s.actors = slices.Delete(s.actors, i, i+1)
}

func (s *story) double(i int) *judge.Event {
	s.events = slices.Insert(s.events, i+1, s.events[i])
	s.actors = slices.Insert(s.actors, i+1, s.actors[i])
	return &s.events[i+1]
}

func (s *story) verdict() judge.Verdict {
	j := judge.New()
	for _, e := range s.events {
		j.Add(e)
	}
	return j.Verdict()
}

// check compares the counts that are not 0.
func check(t *testing.T, v judge.Verdict, want map[judge.Count]int) {
	t.Helper()
	for _, c := range judge.Counts() {
		if v.Counts[c] != want[c] {
			t.Errorf("%s is %d, want %d: %q", c, v.Counts[c], want[c], v.Findings[c])
		}
	}
}

func TestJudge_Clean(t *testing.T) {
	v := clean().verdict()
	check(t, v, nil)
	if v.Unrecovered != 0 || v.Sent != 10 || v.OK != 9 || v.Refused != 1 || v.Repeats != 1 || v.Resumes != 1 || v.Delivered != 17 {
		t.Errorf("the counts of what happened are wrong: %+v", v)
	}
}

func TestJudge_Planted(t *testing.T) {
	for _, test := range []struct {
		name  string
		plant func(s *story)
		want  map[judge.Count]int
	}{
		{"a delivery is missing", func(s *story) { s.drop(s.find("stays", 3)) }, map[judge.Count]int{judge.Lost: 1}},
		{"the last delivery is missing", func(s *story) { s.drop(s.find("app", 6)) }, map[judge.Count]int{judge.Lost: 1}},
		{"a delivery is missing, and a gap was told", func(s *story) {
			i := s.find("stays", 3)
			s.events[i] = judge.Event{
				At: s.events[i].At, Kind: judge.Gap, Who: "stays", Session: "s1", Address: news, From: at(2), Position: at(3), Reason: "history_trimmed",
			}
		}, map[judge.Count]int{judge.Declared: 1}},
		{"a gap was told elsewhere", func(s *story) {
			s.drop(s.find("stays", 3))
			i := s.find("stays", 5)
			s.events = slices.Insert(s.events, i, judge.Event{
				At: s.events[i].At, Kind: judge.Gap, Who: "stays", Session: "s1", Address: news, From: at(4), Position: at(4),
			})
		}, map[judge.Count]int{judge.Lost: 1}},
		{"a delivery comes twice", func(s *story) { s.double(s.find("stays", 3)) }, map[judge.Count]int{judge.Doubled: 1}},
		{"a delivery comes again after a resume", func(s *story) {
			e := s.events[s.find("app", 4)]
			e.Session = "a2"
			s.events = slices.Insert(s.events, s.find("app", 5), e)
		}, map[judge.Count]int{judge.Doubled: 1, judge.Twice: 1}},
		{"a repetition of an inbox has no mark", func(s *story) {
			i := slices.IndexFunc(s.events, func(e judge.Event) bool { return e.Redelivered })
			s.events[i].Redelivered = false
		}, map[judge.Count]int{judge.Doubled: 1}},
		{"what was acknowledged comes again", func(s *story) {
			i := slices.IndexFunc(s.events, func(e judge.Event) bool { return e.Redelivered })
			e := s.events[i]
			e.Key, e.Digest, e.Position = key(11), "d"+key(11), at(11)
			s.events = slices.Insert(s.events, i, e)
		}, map[judge.Count]int{judge.AfterAck: 1}},
		{"an inbox message is missing", func(s *story) {
			for range 2 {
				s.drop(s.find("phone", 13))
			}
		}, map[judge.Count]int{judge.Lost: 1}},
		{"two change places", func(s *story) {
			i, k := s.find("stays", 3), s.find("stays", 4)
			s.events[i], s.events[k] = s.events[k], s.events[i]
		}, map[judge.Count]int{judge.Reordered: 1}},
		{"the former epoch comes after the next", func(s *story) {
			i := s.find("stays", 5)
			s.events = slices.Insert(s.events, i, judge.Event{
				At: s.events[i].At, Kind: judge.Gap, Who: "stays", Session: "s1", Address: news, From: at(4), Position: judge.Position{Epoch: "e2"},
			})
		}, map[judge.Count]int{judge.Reordered: 2}},
		{"a message that nobody sent", func(s *story) {
			e := s.double(s.find("stays", 6))
			e.Key, e.Position = "other", at(7)
		}, map[judge.Count]int{judge.Phantom: 1}},
		{"a refused message", func(s *story) {
			e := s.double(s.find("stays", 6))
			e.Key, e.Digest, e.Position = key(20), "d"+key(20), at(7)
		}, map[judge.Count]int{judge.Phantom: 1}},
		{"another address", func(s *story) {
			e := s.double(s.find("stays", 6))
			e.Origin, e.Position = "channels/other", at(7)
		}, map[judge.Count]int{judge.Leaked: 1, judge.Forked: 1}},
		{"a session that does not follow", func(s *story) {
			s.events[s.find("stays", 6)].Session = "other"
		}, map[judge.Count]int{judge.Leaked: 1, judge.Lost: 1}},
		{"from before the subscription", func(s *story) {
			i := slices.IndexFunc(s.events, func(e judge.Event) bool { return e.Kind == judge.Subscribed && e.Who == "stays" })
			s.events[i].Position = at(1)
		}, map[judge.Count]int{judge.Leaked: 1, judge.Reordered: 1}},
		{"another payload", func(s *story) { s.events[s.find("stays", 3)].Digest = "x" }, map[judge.Count]int{judge.Corrupt: 1}},
		{"one publish at two places", func(s *story) {
			s.events[s.find("stays", 6)].Position = at(7)
		}, map[judge.Count]int{judge.Forked: 1}},
		{"two publishes at one place", func(s *story) {
			s.publish(news, 30, 6)
		}, map[judge.Count]int{judge.Forked: 1, judge.Inverted: 1}},
		{"one publish in two epochs", func(s *story) {
			s.events[s.find("stays", 6)].Position = judge.Position{Epoch: "e2", Seq: 6}
		}, map[judge.Count]int{judge.Moved: 1}},
		{"an order that the answers contradict", func(s *story) {
			for i := range s.events { // 5 and 6 have each other's place
				if e := &s.events[i]; e.Address == news && e.Position == at(5) && e.Key == key(5) {
					e.Position = at(6)
				} else if e.Address == news && e.Position == at(6) && e.Key == key(6) {
					e.Position = at(5)
				}
			}
			for _, who := range []string{"stays", "app"} {
				i, k := s.find(who, 5), s.find(who, 6)
				s.events[i], s.events[k] = s.events[k], s.events[i]
			}
		}, map[judge.Count]int{judge.Inverted: 1}},
		{"after the end of the right", func(s *story) {
			i := slices.IndexFunc(s.events, func(e judge.Event) bool { return e.Kind == judge.Sent && e.Key == key(6) })
			s.events = slices.Insert(s.events, 2, judge.Event{At: s.events[i].At - 600, Kind: judge.Ends, Session: "s1", Reason: "expired", Within: 500})
		}, map[judge.Count]int{judge.Late: 1}},
		{"within the time that an end may take", func(s *story) {
			i := slices.IndexFunc(s.events, func(e judge.Event) bool { return e.Kind == judge.Sent && e.Key == key(6) })
			s.events = slices.Insert(s.events, 2, judge.Event{At: s.events[i].At - 600, Kind: judge.Ends, Session: "s1", Within: 700})
		}, nil},
		{"a publish without an outcome", func(s *story) { s.sent(news, 40) }, map[judge.Count]int{judge.Unresolved: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := clean()
			test.plant(s)
			check(t, s.verdict(), test.want)
		})
	}
}

func TestJudge_Unrecovered(t *testing.T) {
	s := clean()
	for i := range s.events {
		s.events[i].Recovered = false
	}
	v := s.verdict()
	check(t, v, nil)
	if v.Unrecovered != 1 {
		t.Errorf("%d resumes were not recovered, want 1", v.Unrecovered)
	}
}

func TestJudge_Presence(t *testing.T) {
	came := func(kind judge.Kind, at, within int64) judge.Event {
		return judge.Event{At: at, Kind: kind, Who: "ada", Address: news, Within: within}
	}
	looked := func(kind judge.Kind, since int64) judge.Event {
		return judge.Event{At: since + 10, Since: since, Kind: kind, Who: "ada", Address: news}
	}
	for _, test := range []struct {
		name   string
		events []judge.Event
		want   map[judge.Count]int
	}{
		{"as it is", []judge.Event{came(judge.Present, 100, 50), looked(judge.Listed, 200), came(judge.Absent, 300, 50), looked(judge.Unlisted, 400)}, nil},
		{"a ghost", []judge.Event{came(judge.Present, 100, 50), came(judge.Absent, 300, 50), looked(judge.Listed, 400)}, map[judge.Count]int{judge.Ghost: 1}},
		{"nobody has to know yet", []judge.Event{came(judge.Absent, 300, 500), looked(judge.Listed, 400)}, nil},
		{"missing", []judge.Event{came(judge.Present, 100, 50), looked(judge.Unlisted, 200)}, map[judge.Count]int{judge.Missing: 1}},
		{"a change meanwhile", []judge.Event{came(judge.Present, 105, 0), looked(judge.Unlisted, 100)}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			check(t, (&story{events: test.events}).verdict(), test.want)
		})
	}
}

// TestJudge_AnyOrder moves lines of different actors past each other, as writers that are late do.
func TestJudge_AnyOrder(t *testing.T) {
	for seed := range uint64(200) {
		s := clean()
		random := rand.New(rand.NewPCG(seed, 1))
		byActor := map[string][]judge.Event{}
		for i, e := range s.events {
			byActor[s.actors[i]] = append(byActor[s.actors[i]], e)
		}
		actors := []string{"publisher", "stays", "app", "phone", "desk"}
		var mixed []judge.Event
		for len(mixed) < len(s.events) {
			a := actors[random.IntN(len(actors))]
			if rest := byActor[a]; len(rest) > 0 {
				mixed = append(mixed, rest[0])
				byActor[a] = rest[1:]
			}
		}
		v := (&story{events: mixed}).verdict()
		for _, c := range judge.Counts() {
			if v.Counts[c] != 0 {
				t.Fatalf("seed %d: %s is %d: %q", seed, c, v.Counts[c], v.Findings[c])
			}
		}
	}
}

func TestRecord(t *testing.T) {
	for _, files := range []int{1, 4} {
		dir := t.TempDir()
		r, err := judge.Create(dir, files)
		if err != nil {
			t.Fatal(err)
		}
		s := clean()
		s.drop(s.find("stays", 3))
		for _, e := range s.events {
			r.Add(e)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		v, err := judge.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		check(t, v, map[judge.Count]int{judge.Lost: 1})
		if v.Sent != 10 {
			t.Errorf("%d were sent, want 10", v.Sent)
		}
	}
	if _, err := judge.Read(t.TempDir()); err == nil {
		t.Error("a folder without a record is no error")
	}
}

func TestHistogram(t *testing.T) {
	j := judge.New()
	j.Add(judge.Event{At: 1, Kind: judge.Subscribed, Who: "r", Session: "s", Address: news, Position: at(0)})
	for n := 1; n <= 1000; n++ {
		k := fmt.Sprint(n)
		j.Add(judge.Event{At: 10, Kind: judge.Sent, Who: "p", Address: news, Key: k})
		j.Add(judge.Event{At: 10, Kind: judge.Answered, Who: "p", Address: news, Key: k, Position: at(n)})
		j.Add(judge.Event{At: int64(10 + n), Kind: judge.Delivered, Who: "r", Session: "s", Address: news, Key: k, Position: at(n)})
	}
	v := j.Verdict()
	if p := v.Delay.Quantile(0.99).Microseconds(); p < 990 || p > 1000 {
		t.Errorf("p99 is %d µs, want 990 to 1000", p)
	}
	if p := v.Delay.Quantile(0.5).Microseconds(); p < 500 || p > 563 {
		t.Errorf("p50 is %d µs, want 500 to 563", p)
	}
	if v.Delay.Max().Microseconds() != 1000 || v.Delay.Len() != 1000 {
		t.Errorf("the longest of %d is %s", v.Delay.Len(), v.Delay.Max())
	}
}
