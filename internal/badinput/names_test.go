package badinput_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// names are no names of channels.
var names = []string{
	" ", "a b", strings.Repeat("x", 256), ":", ":a", "a:", "a::b", ".", "..", "a/../b", "a/b", `a\b`, "a\x00b", "a\nb", "a\r\nb", "a\tb", "a\x7fb",
	"a\u202eb", "a\u200bb", "\ufeffa", "é", "e\u0301", "\u0430", "a：b", "😀", "%2e%2e", "%00", "a%2Fb", "*", "a*", "a*b", "**", "?", "[a-z]", ">", "#", "+",
	"{x}", "a}{b", "{}", "$SYS", "__keyspace@0__:x", "__sentinel__:hello", "-1", "--help", "' OR 1=1", `"; FLUSHALL`, "a\r\nFLUSHALL\r\n", "${jndi:x}",
	"<script>", "../../etc/passwd", "__proto__", "a,b", "a;b", "a&b", "a|b", "a`b", "~", "a!b", "a(b)", "a'b", "a\u00a0b", "\u2028", "ａ",
}

// identities are no names of anybody: only control characters and lengths are refused there.
var identities = []string{"", strings.Repeat("x", 256), strings.Repeat("😀", 64), "a\x00b", "a\nb", "a\r\nb", "a\tb", "a\x7fb", "a\x1bb"}

func TestNames(t *testing.T) {
	server := redistest.Start(t)
	s := start(t, "names", apptest.Redis(server.URL()))
	conn := s.dial(t, s.AdminKey)
	channels := publishv1.NewChannelServiceClient(conn)
	for _, name := range names {
		address := "channels/" + name
		for door, try := range map[string]func(t *testing.T) string{
			"Publish": func(t *testing.T) string {
				_, err := s.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: address, Data: []byte("1")})
				return s.answered(t, err)
			},
			"topic": func(t *testing.T) string {
				_, err := s.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/open:a/topics/" + name, Data: []byte("1")})
				return s.answered(t, err)
			},
			"Consume": func(t *testing.T) string {
				stream, err := s.Publish.Consume(t.Context(), &publishv1.ConsumeRequest{Address: address})
				testkit.Check(t, err)
				_, err = stream.Recv()
				return s.answered(t, err)
			},
			"ListMessages": func(t *testing.T) string {
				_, err := channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: address})
				return s.answered(t, err)
			},
			"ListMembers": func(t *testing.T) string {
				_, err := channels.ListMembers(t.Context(), &publishv1.ListMembersRequest{Address: address})
				return s.answered(t, err)
			},
			"CreateChannel": func(t *testing.T) string {
				_, err := channels.CreateChannel(t.Context(), &publishv1.CreateChannelRequest{Name: address})
				return s.answered(t, err)
			},
			"UpdateState": func(t *testing.T) string {
				_, err := publishv1.NewStateServiceClient(conn).UpdateState(t.Context(), &publishv1.UpdateStateRequest{Address: address, Data: []byte("{}")})
				return s.answered(t, err)
			},
		} {
			field := map[string]string{"Publish": "to", "topic": "to", "CreateChannel": "name"}[door]
			if field == "" {
				field = "address"
			}
			s.row(fmt.Sprintf("%s %q", door, cut(name)), "InvalidArgument FIELD_INVALID "+field, try)
		}
		for command, field := range map[string]string{
			`"subscribe":{"address":%s}`: "address", `"publish":{"to":%s,"data":1}`: "to", `"history":{"address":%s}`: "address", `"presence":{"address":%s}`: "address",
		} {
			s.row(fmt.Sprintf("frame %s %q", command, cut(name)), "error FIELD_INVALID "+field, func(t *testing.T) string {
				ws := s.socket(t, true) // a new one, because nonsense is limited by connection
				frame := fmt.Sprintf(`{"id":2,`+command+`}`, jsonText(address))
				testkit.Check(t, ws.WriteMessage(websocket.TextMessage, []byte(frame)))
				return s.reply(t, ws)
			})
		}
		s.row(fmt.Sprintf("grant of %q", cut(name)), "InvalidArgument FIELD_INVALID grants[0].address", func(t *testing.T) string {
			if strings.HasSuffix(name, "*") && strings.Count(name, "*") == 1 {
				return "InvalidArgument FIELD_INVALID grants[0].address" // a pattern, which is right here
			}
			_, err := s.Auth.IssueToken(t.Context(), grants(&authv1.Grant{Address: address, Actions: subscribe}))
			return s.answered(t, err)
		})
		s.row(fmt.Sprintf("path of %q", cut(name)), "400", func(t *testing.T) string {
			got := s.ask(t, get("/v1/channels/"+url.PathEscape(name)+"/messages"))
			return got[:min(3, len(got))]
		})
	}
	for _, name := range identities {
		for field, req := range map[string]*authv1.IssueTokenRequest{
			"user": {User: name}, "client": {User: "a", Client: name}, "session": {User: "a", Session: name}, "groups[0]": {User: "a", Groups: []string{name}},
		} {
			if name == "" && field != "groups[0]" {
				continue // unset
			}
			s.row(fmt.Sprintf("IssueToken %s %q", field, cut(name)), "InvalidArgument FIELD_INVALID "+field, func(t *testing.T) string {
				_, err := s.Auth.IssueToken(t.Context(), req)
				return s.answered(t, err)
			})
		}
	}
	for _, address := range []string{"", "x", "users", "users/", "queues/a", "system/revoked", "system/events", "broadcast/", "broadcast/x", "channels", "/channels/a", "CHANNELS/a", "channels/a/topics", "channels/a/topics/", "channels/a/topics/b/c"} {
		s.row(fmt.Sprintf("address %q", address), "InvalidArgument FIELD_INVALID to", func(t *testing.T) string {
			_, err := s.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: address, Data: []byte("1")})
			return s.answered(t, err)
		})
	}
	s.row("a name of 10 MiB", "ResourceExhausted", func(t *testing.T) string {
		_, err := s.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/" + strings.Repeat("x", 10<<20), Data: []byte("1")})
		return s.answered(t, err)
	})
	for _, name := range []string{"tl:system:revoked", "tl:events", "system:revoked", "mb:stream:x", "t2:chat"} { // like keys of ours, or of others
		s.row(fmt.Sprintf("the name %q", name), "OK", func(t *testing.T) string {
			_, err := s.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/" + name, Data: []byte("1")})
			return s.answered(t, err)
		})
	}
	s.row("one recipient 1,000 times", "OK", func(t *testing.T) string {
		_, err := s.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/open:a", Data: []byte("1"), Recipients: many(1000)})
		return s.answered(t, err)
	})
	keys, err := server.CLI("keys", "*")
	testkit.Check(t, err)
	for key := range strings.Lines(keys) {
		if key = strings.TrimSuffix(key, "\n"); !ours.MatchString(key) {
			t.Errorf("Redis has the key %q", key)
		}
	}
}

// ours is what every key in Redis looks like.
var ours = regexp.MustCompile(`^tl:\{[A-Za-z0-9_.:@=+/%-]+\}[!-~]*$`)
