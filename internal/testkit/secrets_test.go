package testkit_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/testkit"
)

// A secret is found in every form that something says it in, and a piece of it too.
func TestSecrets_areFound(t *testing.T) {
	var s testkit.Secrets
	secret := rand.Text() + "/+=\n" + rand.Text()
	s.Add("the key", secret)
	s.Add("the word", "swordfish")
	for _, part := range []string{secret, secret[3:19], secret[20:37], secret[len(secret)-16:]} {
		quoted, err := json.Marshal(part)
		testkit.Check(t, err)
		hexed := ""
		for _, b := range []byte(part) {
			hexed += fmt.Sprintf("%%%02x", b)
		}
		for form, text := range map[string]string{
			"as it is": part, "in a query": url.QueryEscape(part), "in a path": url.PathEscape(part), "percent-encoded": hexed, "in JSON": string(quoted),
			"in Go": fmt.Sprintf("%q", part), "in base64": base64.StdEncoding.EncodeToString([]byte(part)), "in base64 for URLs": base64.RawURLEncoding.EncodeToString([]byte(part)),
			"in base64 behind one byte": base64.StdEncoding.EncodeToString([]byte("a" + part)), "in base64 behind two": base64.StdEncoding.EncodeToString([]byte("ab" + part)),
			"as Basic": "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+part)), "in hexadecimal": hex.EncodeToString([]byte(part)),
			"in capitals": strings.ToUpper(hex.EncodeToString([]byte(part))), "in hexadecimal behind a digit": "0" + hex.EncodeToString([]byte(part)),
		} {
			if name, _ := s.Find("it said: <" + text + ">, and no more"); name != "the key" {
				t.Errorf("%s, %d bytes: found %q", form, len(part), name)
			}
		}
	}
	if name, form := s.Find("redis://user:swordfish@host"); name != "the word" || form != "as it is" {
		t.Errorf("the short one: %q %q", name, form)
	}
	der := []byte(rand.Text() + rand.Text())
	armored := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	s.Add("the private key", armored)
	for form, text := range map[string]string{"PEM": armored, "bytes": string(der), "a line": armored[30:60]} {
		if name, _ := s.Find(text); name != "the private key" {
			t.Errorf("%s of the private key: found %q", form, name)
		}
	}
	for _, harmless := range []string{"", "-----BEGIN PRIVATE KEY-----", secret[:15], "swordfis", strings.Repeat("a", 100), rand.Text(), base64.StdEncoding.EncodeToString([]byte(secret[:15]))} {
		if name, form := s.Find(harmless); name != "" {
			t.Errorf("%q: found %s %s", harmless, name, form)
		}
	}
}
