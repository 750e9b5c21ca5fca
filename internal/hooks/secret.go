package hooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Secret signs webhooks. It shows itself in no log and no error.
type Secret struct{ key []byte }

// String returns dots.
func (Secret) String() string { return "••••" }

// GoString returns dots.
func (Secret) GoString() string { return "••••" }

// LogValue returns dots.
func (Secret) LogValue() slog.Value { return slog.StringValue("••••") }

const secretPrefix = "whsec_"

// ParseSecret reads whsec_ and 24 to 64 bytes in base64, as Standard Webhooks writes it. Its error does not repeat it.
func ParseSecret(s string) (Secret, error) {
	text, ok := strings.CutPrefix(s, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return Secret{}, errors.New("is not whsec_ and 24 to 64 bytes in base64 (try: echo whsec_$(openssl rand -base64 32))")
	}
	return Secret{key: key}, nil
}

// Sign returns what stands for the secret in the header webhook-signature (https://www.standardwebhooks.com).
func (s Secret) Sign(id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
