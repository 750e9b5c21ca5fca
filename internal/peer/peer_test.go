package peer_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/peer"
)

func resolver(tb testing.TB, header string, networks ...string) *peer.Resolver {
	tb.Helper()
	cfg := peer.Config{Header: header}
	for _, n := range networks {
		cfg.Trusted = append(cfg.Trusted, netip.MustParsePrefix(n))
	}
	r, err := peer.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func from(addr, name string, lines ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = addr
	r.Header[http.CanonicalHeaderKey(name)] = lines
	return r
}

func TestResolver_xForwardedFor(t *testing.T) {
	r := resolver(t, "", "10.0.0.0/8", "fd00::/8", "fe80::/10", "::ffff:192.168.0.0/112")
	for _, tt := range []struct {
		name, peer string
		lines      []string
		want       string
	}{
		{"nothing", "10.0.0.1:9", nil, "10.0.0.1"},
		{"an empty header", "10.0.0.1:9", []string{""}, "10.0.0.1"},
		{"an address", "10.0.0.1:9", []string{"198.51.100.1"}, "198.51.100.1"},
		{"a port", "10.0.0.1:9", []string{"198.51.100.1:40001"}, "198.51.100.1"},
		{"IPv6", "10.0.0.1:9", []string{"2001:db8::1"}, "2001:db8::1"},
		{"IPv6 in brackets", "10.0.0.1:9", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"IPv6 with a port", "10.0.0.1:9", []string{"[2001:db8::1]:40001"}, "2001:db8::1"},
		{"whole IPv6 with a port and no brackets", "10.0.0.1:9", []string{"2001:db8:0:0:0:0:0:1:40001"}, "2001:db8::1"},
		{"a zone", "10.0.0.1:9", []string{"203.0.113.9, 2001:db8::1%eth0"}, "2001:db8::1"},
		{"a zone in brackets", "10.0.0.1:9", []string{"[2001:db8::1%25eth0]:1"}, "2001:db8::1"},
		{"another spelling", "10.0.0.1:9", []string{"2001:0DB8:0::0:1"}, "2001:db8::1"},
		{"IPv4 in IPv6", "10.0.0.1:9", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"IPv4 in IPv6, with a port", "10.0.0.1:9", []string{"[::ffff:198.51.100.1]:4"}, "198.51.100.1"},
		{"quotes", "10.0.0.1:9", []string{`"198.51.100.1:4"`}, "198.51.100.1"},
		{"spaces and tabs", "10.0.0.1:9", []string{" \t198.51.100.1 \t, 10.0.0.2\t"}, "198.51.100.1"},
		{"empty elements", "10.0.0.1:9", []string{",198.51.100.1,, ,10.0.0.2,"}, "198.51.100.1"},
		{"several headers", "10.0.0.1:9", []string{"203.0.113.9", "198.51.100.1:1", "10.0.0.2:2"}, "198.51.100.1"},
		{"what the caller wrote", "10.0.0.1:9", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1"},
		{"what the caller wrote, to hide the rest", "10.0.0.1:9", []string{`"203.0.113.9, 198.51.100.1`}, "198.51.100.1"},
		{"proxies alone", "10.0.0.1:9", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"not known", "10.0.0.1:9", []string{"203.0.113.9, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"garbage", "10.0.0.1:9", []string{"198.51.100.1:x"}, "10.0.0.1"},
		{"half a bracket", "10.0.0.1:9", []string{"[2001:db8::1"}, "10.0.0.1"},
		{"IPv4 in brackets", "10.0.0.1:9", []string{"[198.51.100.1]:1"}, "10.0.0.1"},
		{"leading zeros", "10.0.0.1:9", []string{"198.051.100.1"}, "10.0.0.1"},
		{"nobody who is trusted", "203.0.113.1:9", []string{"198.51.100.1"}, "203.0.113.1"},
		{"a proxy of IPv6", "[fd00::1]:9", []string{"198.51.100.1"}, "198.51.100.1"},
		{"a proxy with a zone", "[fe80::1%eth0]:9", []string{"198.51.100.1"}, "198.51.100.1"},
		{"a proxy on a socket of both families", "[::ffff:10.0.0.1]:9", []string{"198.51.100.1"}, "198.51.100.1"},
		{"a network in the spelling of IPv6", "192.168.3.4:9", []string{"198.51.100.1"}, "198.51.100.1"},
	} {
		if got := r.Of(from(tt.peer, "X-Forwarded-For", tt.lines...)).String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestResolver_forwarded(t *testing.T) {
	r := resolver(t, peer.Forwarded, "10.0.0.0/8")
	for _, tt := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"a token", []string{"for=198.51.100.1"}, "198.51.100.1"},
		{"any case, other parameters", []string{"By=10.9.9.9; FOR=198.51.100.1 ;proto=https;host=a.example"}, "198.51.100.1"},
		{"a port in quotes", []string{`for="198.51.100.1:4711"`}, "198.51.100.1"},
		{"a port without quotes", []string{`for=198.51.100.1:4711`}, "198.51.100.1"},
		{"IPv6", []string{`for="[2001:db8:cafe::17]:4711"`}, "2001:db8:cafe::17"},
		{"IPv6 without a port", []string{`for="[2001:db8:cafe::17]"`}, "2001:db8:cafe::17"},
		{"a hidden port", []string{`for="198.51.100.1:_x"`}, "198.51.100.1"},
		{"escapes", []string{`for="\[2001:db8::17\]:1"`}, "2001:db8::17"},
		{"a comma in quotes", []string{`for=198.51.100.1;ext="a,b;for=203.0.113.9"`}, "198.51.100.1"},
		{"a quote in quotes", []string{`for=198.51.100.1;ext="a\",for=203.0.113.9"`}, "198.51.100.1"},
		{"several", []string{"for=203.0.113.9, for=198.51.100.1, for=10.0.0.2"}, "198.51.100.1"},
		{"several headers", []string{"for=203.0.113.9", "for=198.51.100.1", "for=10.0.0.2"}, "198.51.100.1"},
		{"what the caller wrote, to hide the rest", []string{`for="203.0.113.9, for=198.51.100.1`}, "198.51.100.1"},
		{"hidden", []string{"for=203.0.113.9, for=_secret, for=10.0.0.2"}, "10.0.0.2"},
		{"not known", []string{"for=203.0.113.9, for=unknown"}, "10.0.0.1"},
		{"not said", []string{"for=203.0.113.9, proto=https"}, "10.0.0.1"},
		{"said twice", []string{"for=198.51.100.1;for=203.0.113.9"}, "10.0.0.1"},
	} {
		req := from("10.0.0.1:9", "Forwarded", tt.lines...)
		req.Header.Set("X-Forwarded-For", "192.0.2.99") // not the header that counts
		if got := r.Of(req).String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := resolver(t, "", "10.0.0.0/8").Of(from("10.0.0.1:9", "Forwarded", "for=198.51.100.1")).String(); got != "10.0.0.1" {
		t.Errorf("a header that does not count gave %s", got)
	}
}

func TestResolver_group(t *testing.T) {
	for _, tt := range []struct {
		bits       int
		addr, want string
	}{
		{0, "198.51.100.1", "198.51.100.1"},
		{0, "2001:db8:1:2:3::4", "2001:db8:1:2::/64"},
		{0, "2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"},
		{48, "2001:db8:1:2:3::4", "2001:db8:1::/48"},
		{128, "2001:db8::1", "2001:db8::1"},
	} {
		r, err := peer.New(peer.Config{IPv6Prefix: tt.bits})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Group(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%s by %d bits: %s, want %s", tt.addr, tt.bits, got, tt.want)
		}
	}
	var nobody *peer.Resolver
	if got := nobody.GroupOf(from("[::ffff:198.51.100.1]:9", "X-Forwarded-For", "203.0.113.9")); got != "198.51.100.1" {
		t.Errorf("without a configuration: %s", got)
	}
	for _, cfg := range []peer.Config{{IPv6Prefix: 129}, {IPv6Prefix: -1}, {Header: "X-Real-IP"}} {
		if _, err := peer.New(cfg); err == nil {
			t.Errorf("took %+v", cfg)
		}
	}
}

// A header that goes on for ever costs no more than a few steps.
func TestResolver_longHeader(t *testing.T) {
	r := resolver(t, "", "10.0.0.0/8")
	req := from("10.0.0.1:9", "X-Forwarded-For", "203.0.113.9,"+strings.Repeat("10.0.0.2,", 5000))
	if got := r.Of(req).String(); got != "10.0.0.2" {
		t.Errorf("got %s", got)
	}
}

func FuzzResolver(f *testing.F) {
	f.Add("for=1.2.3.4", true)
	f.Add(`for="[2001:db8::1]:80";x="a\"b,c"`, true)
	f.Add("1.2.3.4:5, [::1]:6,, x", false)
	plain, rfc := resolver(f, "", "10.0.0.0/8"), resolver(f, peer.Forwarded, "10.0.0.0/8")
	f.Fuzz(func(t *testing.T, text string, isForwarded bool) {
		// Whatever a caller writes, its proxy's own word counts.
		r, name, own := plain, "X-Forwarded-For", "198.51.100.1"
		if isForwarded {
			r, name, own = rfc, "Forwarded", "for=198.51.100.1"
		}
		if got := r.Of(from("10.0.0.1:9", name, text+", "+own)).String(); got != "198.51.100.1" {
			t.Errorf("%q hides the proxy's word: %s", text, got)
		}
		r.Of(from("10.0.0.1:9", name, text))
	})
}
