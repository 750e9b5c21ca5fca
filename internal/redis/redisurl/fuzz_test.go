package redisurl_test

import (
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/redis/redisurl"
)

// FuzzURL says that a URL which is taken names servers that can be dialled. A refusal repeats nothing of what may be a password.
func FuzzURL(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		u, err := redisurl.Parse(text)
		if err != nil {
			_, rest, _ := strings.Cut(text, "://")
			if i := strings.LastIndexByte(rest, '@'); i > 4 && strings.Contains(err.Error(), rest[:i]) {
				t.Errorf("the refusal shows a password: %v", err)
			}
			return
		}
		if (u.Socket == "") == (len(u.Hosts) == 0) || u.DB < 0 || (u.Shape == redisurl.Sentinel) != (u.Master != "") || u.Shape == redisurl.Cluster && u.DB != 0 {
			t.Errorf("%q is %+v", text, u)
		}
		for _, at := range u.Hosts {
			if host, port, err := net.SplitHostPort(at); err != nil || host == "" || port == "" {
				t.Errorf("%q has the host %q, %v", text, at, err)
			}
		}
		// The library that most programs read such a URL with sees the same server.
		if plain, err := url.Parse(text); err == nil && u.Shape == redisurl.Single && u.Socket == "" {
			if !strings.EqualFold(plain.Hostname(), strings.Trim(hostOf(u.Hosts[0]), "[]")) {
				t.Errorf("%q is at %q, by net/url at %q", text, u.Hosts[0], plain.Host)
			}
			if password, _ := plain.User.Password(); password != u.Password || plain.User.Username() != u.User {
				t.Errorf("%q signs in as %q, by net/url as %v", text, u.User, plain.User)
			}
		}
	})
}

func hostOf(at string) string {
	host, _, _ := net.SplitHostPort(at)
	return host
}
