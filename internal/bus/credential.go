package bus

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// TokenDigest returns what a store keeps of a token: nobody can make the token from it.
func TokenDigest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// BearerToken returns the token of an authorization header (RFC 6750, section 2.1); empty when it has none.
func BearerToken(header string) string {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
