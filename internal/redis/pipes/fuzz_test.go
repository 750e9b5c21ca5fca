package pipes //nolint:testpackage // pipelines are private to the package

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// spoken is an error that a server has told.
type spoken string

func (s spoken) Error() string { return string(s) }

// RedisError marks it as one of a server.
func (spoken) RedisError() {}

// FuzzRedirected reads where a server sends a command. What is read is a slot and an address that can be dialled, or nothing.
func FuzzRedirected(f *testing.F) {
	from := redis.NewClient(&redis.Options{Addr: "10.0.0.1:7000"})
	f.Cleanup(func() { _ = from.Close() })
	f.Fuzz(func(t *testing.T, text, host string, port uint16) {
		if to, ok := redirected(spoken(text), "MOVED ", from); ok {
			if _, _, err := net.SplitHostPort(to.addr); err != nil || !strings.HasPrefix(text, "MOVED ") || len(strings.Fields(text)) != 3 {
				t.Errorf("%q leads to %+v, %v", text, to, err)
			}
		}
		addr := net.JoinHostPort(host, fmt.Sprint(port))
		if host == "" || strings.ContainsAny(host, " []\t\n\v\f\r\u0085\u00a0") || len(strings.Fields("x"+host+"x")) != 1 {
			return
		}
		if to, ok := redirected(spoken("ASK 7 "+addr), "ASK ", from); !ok || to.addr != addr || to.slot != "7" {
			t.Errorf("%q leads to %+v, %t", addr, to, ok)
		}
	})
}
