package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// compact says whether a token has only the characters of the compact form (RFC 7515, section 3.1). The
// decoder would skip line ends, so that one token could be written in many ways.
func compact(token string) bool {
	for i := range len(token) {
		c := token[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// claimNames are the claims that we read, in their only spelling; true for those that are numbers.
var claimNames = map[string]bool{
	"iss": false, "sub": false, "aud": false, "jti": false, "exp": true, "nbf": true, "iat": true,
	"cid": false, "sid": false, "grp": false, "grants": false, "fam": false, "ims": true,
}

// plainClaims says whether the claims of a token mean one thing only. The decoder is more forgiving than a signature may be. It
// takes the last of two members, a member in another case, and a number in quotes.
func plainClaims(token string) bool {
	_, rest, _ := strings.Cut(token, ".")
	body, _, _ := strings.Cut(rest, ".")
	payload, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return false
	}
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		lower := strings.ToLower(name)
		if err != nil || !ok || seen[lower] {
			return false
		}
		seen[lower] = true
		number, known := claimNames[lower]
		if known && name != lower {
			return false
		}
		var value json.RawMessage
		if d.Decode(&value) != nil || number && !numeric(value) {
			return false
		}
	}
	return true
}

// numeric says whether a JSON value is a time of this era, in seconds or milliseconds.
func numeric(value json.RawMessage) bool {
	var f float64
	return json.Unmarshal(value, &f) == nil && string(value) != "null" && f >= 0 && f < 1e14
}

// onlyExpired says whether a token was right in every way but its time.
func onlyExpired(err error) bool {
	for _, other := range []error{
		jwt.ErrTokenMalformed, jwt.ErrTokenUnverifiable, jwt.ErrTokenSignatureInvalid, jwt.ErrTokenRequiredClaimMissing,
		jwt.ErrTokenInvalidAudience, jwt.ErrTokenInvalidIssuer, jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenNotValidYet,
	} {
		if errors.Is(err, other) {
			return false
		}
	}
	return errors.Is(err, jwt.ErrTokenExpired)
}
