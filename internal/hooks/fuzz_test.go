package hooks_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/hooks"
)

// FuzzParseSecret says that a secret signs as Standard Webhooks says, and that neither it nor a refusal shows what it is.
func FuzzParseSecret(f *testing.F) {
	f.Fuzz(func(t *testing.T, text, id string, body []byte) {
		s, err := hooks.ParseSecret(text)
		if err != nil {
			if len(text) > 8 && strings.Contains(err.Error(), text) {
				t.Errorf("the refusal shows it: %v", err)
			}
			return
		}
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
		if err != nil || len(key) < 24 || fmt.Sprintf("%v %+v %#v %s", s, s, s, s.LogValue()) != "•••• •••• •••• ••••" {
			t.Fatalf("%q is a secret, %v: %v", text, err, s)
		}
		at := time.Unix(1_700_000_000, 0)
		mac := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body)
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); s.Sign(id, at, body) != want {
			t.Errorf("it signs with %s, want %s", s.Sign(id, at, body), want)
		}
	})
}

// FuzzCheckHost spells an address of IPv4 in every form that resolvers take. All of them are of the public internet, or none is; and
// so is what is dialled.
func FuzzCheckHost(f *testing.F) {
	f.Fuzz(func(t *testing.T, a, b, c, d byte, host string) {
		addr := netip.AddrFrom4([4]byte{a, b, c, d})
		n := uint32(a)<<24 | uint32(b)<<16 | uint32(c)<<8 | uint32(d)
		want := hooks.CheckHost(addr.String())
		for _, text := range []string{
			fmt.Sprint(n), fmt.Sprintf("0x%x", n), fmt.Sprintf("0X%X", n), fmt.Sprintf("0%o", n), fmt.Sprintf("%d.%d", a, n&0xffffff),
			fmt.Sprintf("%d.0x%x.%d", a, b, n&0xffff), fmt.Sprintf("0%o.%d.%d.0x%x", a, b, c, d), addr.String() + ".", "::ffff:" + addr.String(),
			netip.AddrFrom16(addr.As16()).String(),
		} {
			if got := hooks.CheckHost(text); (got == nil) != (want == nil) {
				t.Errorf("%s is %v, and %s is %v", text, got, addr, want)
			}
		}
		if dialled := hooks.CheckPublic(netip.AddrPortFrom(addr, 443).String()); (dialled == nil) != (want == nil) {
			t.Errorf("%s is %v in a URL, and %v when it is dialled", addr, want, dialled)
		}
		if got, err := netip.ParseAddr(host); err == nil && (got.Unmap().IsLoopback() || got.Unmap().IsPrivate() || got.Unmap().IsLinkLocalUnicast()) && hooks.CheckHost(host) == nil {
			t.Errorf("%s is of the public internet", host)
		}
	})
}
