package auth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
)

// A refresh token is a prefix and, in base64, the id of its family, a secret and a tag. The tag binds the two with the seal of
// the family. The tag tells an old token of the family, whose use is an alarm, from text that somebody made up.
const (
	refreshPrefix = "tlr_"
	familyBytes   = 16
	secretBytes   = 32
	tagBytes      = 16
	refreshBytes  = familyBytes + secretBytes + tagBytes
)

// refreshRepeat is how long a refresh token that was used returns the same answer: the first one may have been lost on its way.
const refreshRepeat = 30 * time.Second

func newSeal() []byte {
	seal := make([]byte, sha256.Size)
	_, _ = rand.Read(seal) // never fails (crypto/rand)
	return seal
}

func newRefreshToken(sub subject) (string, error) {
	family, err := uuid.Parse(sub.Family)
	if err != nil {
		return "", fmt.Errorf("make a refresh token: %w", err)
	}
	raw := make([]byte, familyBytes+secretBytes, refreshBytes)
	copy(raw, family[:])
	_, _ = rand.Read(raw[familyBytes:]) // never fails (crypto/rand)
	return refreshPrefix + base64.RawURLEncoding.EncodeToString(append(raw, sub.tag(raw)...)), nil
}

// tag is the end of a refresh token, made of what is before it.
func (sub *subject) tag(raw []byte) []byte {
	mac := hmac.New(sha256.New, sub.Seal)
	mac.Write(raw)
	return mac.Sum(nil)[:tagBytes]
}

// isRefresh says whether a token is written as our refresh tokens are: nothing else reaches the store.
func isRefresh(token string) bool {
	return strings.HasPrefix(token, refreshPrefix) && len(token) == len(refreshPrefix)+base64.RawURLEncoding.EncodedLen(refreshBytes)
}

// familyOf returns whose a refresh token is, the newest one or an older one.
func (s *Server) familyOf(ctx context.Context, token string) (subject, error) {
	var sub subject
	if !isRefresh(token) {
		return sub, bus.ErrTokenInvalid
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token[len(refreshPrefix):])
	if err != nil {
		return sub, bus.ErrTokenInvalid
	}
	family := uuid.UUID(raw[:familyBytes]).String()
	value, err := s.store.Family(ctx, family)
	if err != nil {
		return sub, err
	}
	body := raw[:familyBytes+secretBytes]
	if err := json.Unmarshal(value, &sub); err != nil || sub.Family != family {
		err := unreadable("family", family)
		s.teller.tell(err)
		return sub, err
	}
	if !hmac.Equal(sub.tag(body), raw[len(body):]) {
		return sub, bus.ErrTokenInvalid
	}
	return sub, nil
}

func (s *Server) beginFamily(ctx context.Context, p pair, sub subject) error {
	value, err := sub.value(p)
	if err != nil {
		return err
	}
	if err := s.cfg.Charging.Take(rpc.CallerFrom(ctx).Author(bus.Sender{}), bus.Charge{Tokens: 1}); err != nil {
		return err
	}
	return s.store.SaveFamily(ctx, sub.Family, bus.TokenDigest(p.refresh), value, s.cfg.RefreshTTL)
}

// value is what the store keeps of a family whose newest pair this is.
func (sub subject) value(p pair) ([]byte, error) {
	sub.Issued = p.issued
	value, err := json.Marshal(sub)
	if err != nil {
		return nil, fmt.Errorf("encode a family: %w", err)
	}
	return value, nil
}

// RefreshToken exchanges a refresh token for a new pair.
func (s *Server) RefreshToken(ctx context.Context, req *authv1.RefreshTokenRequest) (*authv1.RefreshTokenResponse, error) {
	token := req.GetRefreshToken()
	if token == "" {
		return nil, bus.ErrTokenMissing.With("refresh_token is empty", nil)
	}
	sub, err := s.familyOf(ctx, token)
	if err != nil {
		return nil, err
	}
	issued, err := s.refreshable(ctx, sub)
	if err != nil {
		return nil, err
	}
	return s.exchange(ctx, token, sub, issued)
}

// exchange makes a new pair the newest of the family. It is one step of the store. A client that was told to try again, or lost
// the answer, tries with the same token and gets the same pair.
func (s *Server) exchange(ctx context.Context, token string, sub subject, issued time.Time) (*authv1.RefreshTokenResponse, error) {
	p, err := s.issue(sub, issued)
	if err != nil {
		return nil, err
	}
	resp := &authv1.RefreshTokenResponse{
		Token: p.token, TokenId: p.id, Client: sub.Client, ExpireTime: convert.Time(p.expires),
		RefreshToken: p.refresh, RefreshExpireTime: convert.Time(p.refreshExpires),
	}
	value, err := sub.value(p)
	if err != nil {
		return nil, err
	}
	answer, err := seal(token, resp)
	if err != nil {
		return nil, err
	}
	done, err := s.store.Exchange(ctx, sub.Family, bus.Exchange{
		Old: bus.TokenDigest(token), New: bus.TokenDigest(p.refresh), Value: value, TTL: s.cfg.RefreshTTL, Answer: answer, Window: refreshRepeat,
	})
	if err != nil {
		return nil, err
	}
	switch done.Outcome {
	case bus.ExchangeDone:
		return resp, nil
	case bus.ExchangeRepeated:
		return unseal(token, done.Answer)
	}
	if err := s.revokeFamily(ctx, sub.Family); err != nil {
		return nil, err
	}
	return nil, bus.ErrRefreshTokenReused
}

// sealer encrypts under a key that only the holder of a refresh token can make: the store has but the token's digest.
func sealer(token string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(token), nil, "trunkline refresh answer", 32)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make a cipher: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func seal(token string, resp *authv1.RefreshTokenResponse) ([]byte, error) {
	plain, err := proto.Marshal(resp)
	if err != nil {
		return nil, fmt.Errorf("encode an answer: %w", err)
	}
	aead, err := sealer(token)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plain, nil), nil //nolint:gosec // the cipher makes a random nonce itself
}

func unseal(token string, answer []byte) (*authv1.RefreshTokenResponse, error) {
	aead, err := sealer(token)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, answer, nil)
	if err != nil {
		return nil, fmt.Errorf("open a remembered answer: %w", err)
	}
	resp := new(authv1.RefreshTokenResponse)
	if err := proto.Unmarshal(plain, resp); err != nil {
		return nil, fmt.Errorf("decode a remembered answer: %w", err)
	}
	return resp, nil
}

// revokeFamily ends every token that descends from one sign-in, also a pair that is just being made.
func (s *Server) revokeFamily(ctx context.Context, family string) error {
	return s.store.Revoke(ctx, bus.Subject{Kind: bus.SubjectFamily, ID: family}, time.Time{}, s.revocationTTL())
}

// refreshable returns when a pair that the refresh token is exchanged for counts as issued, or why it is not. Its owner was then
// revoked since it was issued, or may have been, where the store has lost revocations. Both are judged by one answer of the
// store, so that whoever is revoked right behind it is revoked with the new pair too.
func (s *Server) refreshable(ctx context.Context, sub subject) (time.Time, error) {
	who := &bus.Identity{
		Client: sub.Client, User: sub.User, Session: sub.Session, Family: sub.Family, Issued: sub.Issued,
	}
	now, subjects := s.store.Now(), who.Subjects()
	times, err := s.store.RevokedBefore(ctx, subjects)
	if err != nil {
		return time.Time{}, err
	}
	who.OutlivesLoss = s.cfg.LostRevocations == LostAllow
	refused := who.Refused(func(sub bus.Subject) time.Time { return times[slices.Index(subjects, sub)] })
	switch {
	case refused == nil:
	case errors.Is(refused, bus.ErrTokenExpired):
		return time.Time{}, bus.ErrTokenExpired.With("revocations of this refresh token may be lost; sign in again", nil)
	default:
		return time.Time{}, refused
	}
	return issuedAfter(now, subjects, times), nil
}
