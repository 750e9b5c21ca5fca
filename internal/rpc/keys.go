package rpc

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/trunkline/trunkline/internal/bus"
)

// keyPrefix begins every API key, so that a key is told from a token and found by secret scanners.
const keyPrefix = "tlk_"

// APIKey is one key of a back end. Only its digest is kept.
type APIKey struct {
	// ID names the key in logs and stands in the key itself.
	ID string
	// Digest is the SHA-256 of the whole key.
	Digest [sha256.Size]byte
	// Scopes is what the key may do.
	Scopes []string
}

// NewAPIKey makes a key: tlk_<id>_<256 random bits>. The text is shown once and not kept.
func NewAPIKey(id string, scopes ...string) (text string, key APIKey) {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails (crypto/rand)
	text = keyPrefix + id + "_" + base64.RawURLEncoding.EncodeToString(secret[:])
	return text, APIKey{ID: id, Digest: sha256.Sum256([]byte(text)), Scopes: scopes}
}

// ParseAPIKey reads a key from its text.
func ParseAPIKey(text string, scopes ...string) (APIKey, error) {
	id, err := keyID(text)
	if err != nil {
		return APIKey{}, err
	}
	if err := checkID(id); err != nil {
		return APIKey{}, err
	}
	if len(text)-len(keyPrefix)-len(id)-1 < 32 {
		return APIKey{}, fmt.Errorf("API key %q: the secret has fewer than 32 characters", id)
	}
	return APIKey{ID: id, Digest: sha256.Sum256([]byte(text)), Scopes: scopes}, checkScopes(id, scopes)
}

// ParseAPIKeyDigest reads a key from its id and the hex of its SHA-256.
func ParseAPIKeyDigest(id, digest string, scopes ...string) (APIKey, error) {
	k := APIKey{ID: id, Scopes: scopes}
	if err := checkID(id); err != nil {
		return APIKey{}, err
	}
	b, err := hex.DecodeString(digest)
	if err != nil || len(b) != len(k.Digest) {
		return APIKey{}, fmt.Errorf("API key %q: the digest is not 64 hex digits (SHA-256 of the key)", id)
	}
	copy(k.Digest[:], b)
	return k, checkScopes(id, scopes)
}

// checkID refuses an id that no key can have: the id ends at the first underscore of the key.
func checkID(id string) error {
	if id == "" || strings.ContainsAny(id, "_ ") {
		return fmt.Errorf("API key id %q: it is empty, or has an underscore or space", id)
	}
	return nil
}

func checkScopes(id string, scopes []string) error {
	if len(scopes) == 0 {
		return fmt.Errorf("API key %q has no scopes; known are %s", id, strings.Join(Scopes(), ", "))
	}
	for _, s := range scopes {
		if !slices.Contains(Scopes(), s) {
			return fmt.Errorf("API key %q: scope %q is not known; known are %s", id, s, strings.Join(Scopes(), ", "))
		}
	}
	return nil
}

// internalID is the id of the key of the roles; no other key may have it.
const internalID = "internal"

// internalKeyText is the API key that roles call each other with.
func internalKeyText(secret string) string { return keyPrefix + internalID + "_" + secret }

// InternalKey is the key of the roles themselves: every scope.
func InternalKey(secret string) APIKey {
	return APIKey{ID: internalID, Digest: sha256.Sum256([]byte(internalKeyText(secret))), Scopes: []string{ScopeAll}}
}

func keyID(text string) (string, error) {
	rest, ok := strings.CutPrefix(text, keyPrefix)
	id, _, ok2 := strings.Cut(rest, "_")
	if !ok || !ok2 || id == "" {
		return "", fmt.Errorf("an API key looks like %sID_SECRET", keyPrefix)
	}
	return id, nil
}

// keyring finds keys by the id in them and compares digests in constant time.
type keyring map[string]*entry

type entry struct {
	digest [sha256.Size]byte
	caller *Caller
}

func newKeyring(keys []APIKey) (keyring, error) {
	ring := keyring{}
	for _, k := range keys {
		if err := checkID(k.ID); err != nil {
			return nil, err
		}
		if _, ok := ring[k.ID]; ok {
			return nil, fmt.Errorf("API key id %q is configured twice", k.ID)
		}
		ring[k.ID] = &entry{digest: k.Digest, caller: Backend(k.ID, k.Scopes...)}
	}
	return ring, nil
}

// find returns the caller of a key. An unknown id costs the same comparison as a wrong secret.
func (r keyring) find(text string) (*Caller, error) {
	id, err := keyID(text)
	if err != nil {
		return nil, bus.ErrAPIKeyInvalid
	}
	e, ok := r[id]
	if !ok {
		e = &entry{}
	}
	digest := sha256.Sum256([]byte(text))
	if subtle.ConstantTimeCompare(digest[:], e.digest[:]) != 1 || !ok {
		return nil, bus.ErrAPIKeyInvalid
	}
	return e.caller, nil
}
