package facility

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/trunkline/trunkline/internal/bus"
)

// SessionsConfig tunes Sessions. The zero value of a field means that of DefaultSessions.
type SessionsConfig struct {
	// URL answers GET with the cookie of a session: 200 and {"user":"ada","groups":["staff"]}, or 401, 403 or 404 for a session
	// that there is not. Required.
	URL string
	// Cookie is the cookie's name. Required.
	Cookie string
	// Name returns the name that stands for a user, a group or a session as the older system spells it. Required.
	Name func(text string) string
	// Timeout is for each question.
	Timeout time.Duration
	// Cache is for how long an answer is believed.
	Cache time.Duration
	// Life is how long a connection of a resolved session may last.
	Life time.Duration
}

// DefaultSessions returns the defaults.
func DefaultSessions() SessionsConfig {
	return SessionsConfig{Timeout: time.Second, Cache: 10 * time.Second, Life: 12 * time.Hour}
}

// Sessions asks the site of an older system whose its sessions are. Without an answer nobody is let in.
type Sessions struct {
	cfg     SessionsConfig
	log     *slog.Logger
	client  *http.Client
	cache   *lru.Cache[string, resolved]
	flights singleflight.Group
	warn    *rate.Limiter
}

var _ bus.SessionResolver = (*Sessions)(nil)

// resolved is one answer.
type resolved struct {
	token bus.OpaqueToken
	none  bool
	until time.Time
}

const (
	sessionsCached = 10_000
	maxAnswer      = 64 << 10
	maxGroups      = 100
)

// NewSessions returns a resolver.
func NewSessions(cfg SessionsConfig, log *slog.Logger) (*Sessions, error) {
	d := DefaultSessions()
	cfg.Timeout, cfg.Cache, cfg.Life = cmp.Or(cfg.Timeout, d.Timeout), cmp.Or(cfg.Cache, d.Cache), cmp.Or(cfg.Life, d.Life)
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" { // it may hold a password
		return nil, errors.New("legacy.facility.resolver.url: is not a URL such as https://example.com/session")
	}
	cache, err := lru.New[string, resolved](sessionsCached)
	if err != nil {
		return nil, fmt.Errorf("make the cache of sessions: %w", err)
	}
	return &Sessions{
		cfg: cfg, log: log, cache: cache, warn: rate.NewLimiter(rate.Every(10*time.Second), 1),
		client: &http.Client{
			Timeout: cfg.Timeout,
			// An answer from elsewhere would be asked with the cookie, which is nobody else's business.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close ends the connections that are kept for the next question.
func (s *Sessions) Close() { s.client.CloseIdleConnections() }

// ResolveSession asks the site, unless it has answered lately. Equal questions share one call.
func (s *Sessions) ResolveSession(ctx context.Context, key string) (bus.OpaqueToken, error) {
	if known, ok := s.cache.Get(key); ok && time.Now().Before(known.until) {
		return known.answer()
	}
	key = strings.Clone(key) // it is a part of all the cookies of a request
	flight := s.flights.DoChan(key, func() (any, error) { return s.ask(key) })
	select {
	case r := <-flight:
		if r.Err != nil {
			if s.warn.Allow() {
				s.log.Warn("the session resolver did not answer", slog.String("error", r.Err.Error()))
			}
			return bus.OpaqueToken{}, bus.ErrAuthUnavailable.Wrap(r.Err)
		}
		known, _ := r.Val.(resolved)
		return known.answer()
	case <-ctx.Done():
		return bus.OpaqueToken{}, bus.ErrAuthUnavailable.Wrap(ctx.Err())
	}
}

func (r resolved) answer() (bus.OpaqueToken, error) {
	if r.none {
		return bus.OpaqueToken{}, bus.ErrTokenInvalid
	}
	return r.token, nil
}

var errStrange = errors.New("the answer is not one")

func (s *Sessions) ask(key string) (resolved, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.URL, nil)
	if err != nil {
		return resolved{}, errStrange // the error would name the URL, which may hold a password
	}
	cookie := &http.Cookie{Name: s.cfg.Cookie, Value: key} //nolint:gosec // a cookie of a request has no flags
	if cookie.Valid() != nil {
		return resolved{none: true, until: time.Now().Add(s.cfg.Cache)}, nil
	}
	req.AddCookie(cookie)
	req.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return resolved{}, fmt.Errorf("no answer: %w", errors.Unwrap(err)) // without the URL
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return resolved{}, fmt.Errorf("read the answer: %w", err)
	}
	known, err := s.read(key, resp.StatusCode, body)
	if err == nil {
		known.until = time.Now().Add(s.cfg.Cache)
		s.cache.Add(key, known)
	}
	return known, err
}

func (s *Sessions) read(key string, status int, body []byte) (resolved, error) {
	switch status {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return resolved{none: true}, nil
	default:
		return resolved{}, fmt.Errorf("%w: status %d", errStrange, status)
	}
	var who struct {
		User   string   `json:"user"`
		Groups []string `json:"groups"`
	}
	if err := json.Unmarshal(body, &who); err != nil || len(who.Groups) > maxGroups {
		return resolved{}, errStrange
	}
	user := ""
	if who.User != "" {
		user = s.cfg.Name(who.User)
	}
	groups := make([]string, 0, len(who.Groups))
	for _, g := range who.Groups {
		if g != "" {
			groups = append(groups, s.cfg.Name(g))
		}
	}
	return resolved{token: bus.SessionIdentity(key, s.cfg.Name(key), user, groups, nil, time.Now(), s.cfg.Life)}, nil
}
