package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/trunkline/trunkline/internal/redis/pipes"
	"github.com/trunkline/trunkline/internal/redis/redisurl"
)

// respVersion is RESP 2: nothing of RESP 3 is used, and its push messages are looked for before every answer.
const respVersion = 2

// never is for tries of go-redis: a command that may have been done is not sent again.
const never = -1

// open makes the client, and returns what its URL says. It connects when it is first used.
func (c Config) open(log *slog.Logger) (redis.UniversalClient, redisurl.URL, error) {
	u, err := redisurl.Parse(c.URL)
	if err != nil {
		return nil, u, fmt.Errorf("redis.url: %w", err)
	}
	o := options{Config: c, url: u}
	if o.secure, err = c.secure(u); err != nil {
		return nil, u, err
	}
	if c.Reread != nil {
		o.who = (&credentials{reread: c.Reread, log: log, last: u}).now
	}
	switch u.Shape {
	case redisurl.Sentinel:
		return redis.NewFailoverClient(o.sentinel()), u, nil
	case redisurl.Cluster:
		return redis.NewClusterClient(o.cluster()), u, nil
	default:
		return redis.NewClient(o.single()), u, nil
	}
}

// secure returns how connections are encrypted; nil for plain ones.
func (c Config) secure(u redisurl.URL) (*tls.Config, error) {
	if !u.TLS {
		return nil, nil
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(c.CA) > 0 {
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("redis ca_file: has no PEM certificate")
		}
	}
	if c.Certificate != nil {
		secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.Certificate() }
	}
	return secure, nil
}

// options is what the options of the clients are made of.
type options struct {
	Config

	url    redisurl.URL
	secure *tls.Config
	who    signsIn // nil where the password stays
}

func (o options) single() *redis.Options {
	all := &redis.Options{
		Network: "tcp", Username: o.url.User, Password: o.url.Password, CredentialsProviderContext: o.who, DB: o.url.DB, TLSConfig: o.secure,
		Protocol: respVersion, MaxRetries: never, ContextTimeoutEnabled: true, DialTimeout: o.Timeout, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout,
		PoolTimeout: o.Timeout, PoolSize: pipes.PoolSize, MaintNotificationsConfig: plain(),
	}
	if all.Addr = o.url.Socket; all.Addr != "" {
		all.Network = "unix"
		return all
	}
	all.Addr = o.url.Hosts[0]
	return all
}

func (o options) sentinel() *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName: o.url.Master, SentinelAddrs: o.url.Hosts, SentinelUsername: o.SentinelUser, SentinelPassword: o.SentinelPassword,
		Username: o.url.User, Password: o.url.Password, CredentialsProviderContext: o.who, DB: o.url.DB, TLSConfig: o.secure,
		Protocol: respVersion, MaxRetries: never, ContextTimeoutEnabled: true, DialTimeout: o.Timeout, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout,
		PoolTimeout: o.Timeout, PoolSize: pipes.PoolSize,
	}
}

func (o options) cluster() *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs: o.url.Hosts, Username: o.url.User, Password: o.url.Password, CredentialsProviderContext: o.who, TLSConfig: o.secure,
		// go-redis would also repeat commands after a lost connection; redirections are followed by us.
		// A server that refuses connections is tried again by us, too, for which only its own callers wait.
		Protocol: respVersion, MaxRedirects: never, MaxRetries: never, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: o.Timeout, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout, PoolTimeout: o.Timeout, PoolSize: pipes.PoolSize,
		MaintNotificationsConfig: plain(),
	}
}

func plain() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}
