package redis

import (
	"context"
	"log/slog"
	"sync"

	"github.com/trunkline/trunkline/internal/redis/redisurl"
)

// signsIn returns who signs in on a new connection.
type signsIn = func(context.Context) (user, password string, err error)

// credentials are a user and a password that may change. Many connections may ask at once.
type credentials struct {
	reread func() (string, error)
	log    *slog.Logger

	mu   sync.Mutex
	last redisurl.URL
	said string // what was logged last, so that a storm of connections logs it once
}

// now returns the user and the password of this moment. Where they cannot be read it returns the last ones,
// because a file that is being replaced is away for a moment.
func (c *credentials) now(context.Context) (user, password string, err error) {
	text, err := c.reread()
	var u redisurl.URL
	if err == nil {
		u, err = redisurl.Parse(text)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.say("the URL of Redis cannot be read again; the last password stays", err.Error())
		return c.last.User, c.last.Password, nil
	case !u.Same(c.last):
		c.say("the URL of Redis names another place now; only its user and password are taken, until a restart", "")
	default:
		c.said = ""
	}
	c.last.User, c.last.Password = u.User, u.Password
	return u.User, u.Password, nil
}

// say logs what has not been logged just before. The caller holds the lock.
func (c *credentials) say(text, err string) {
	if c.said == text+err {
		return
	}
	c.said = text + err
	c.log.Warn(text, slog.String("error", err), slog.String("setting", "redis.url_file"))
}
