package redis

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// Least is a durability, with the number of replicas where it is Replicated.
type Least = server.Least

// DefaultPrefix begins every name unless another one is configured.
const DefaultPrefix = "tl:"

// Config says where Redis is. The zero value of a field means its default.
type Config struct {
	// URL is one of
	//   redis://[user:password@]host:port/db
	//   rediss://… the same over TLS
	//   redis+sentinel://[user:password@]host:port,host:port/master/db
	//   redis+cluster://[user:password@]host:port,host:port
	// rediss+sentinel and rediss+cluster are over TLS.
	URL string
	// CA is PEM certificates that servers are checked against; the system's by default.
	CA []byte
	// Prefix begins every name; DefaultPrefix unless set.
	Prefix string
	// Timeout is for every call; 2 s by default.
	Timeout time.Duration
	// Now is the clock of this process, with which the servers' time is estimated; time.Now by default.
	Now func() time.Time
	// MetaTTL is how long the epoch of an address outlives its last use; 30 days by default.
	MetaTTL time.Duration
	// Least says how durable everything is that is published to an address, whoever publishes; nil for Live everywhere. Where it
	// is Replicated, with as many replicas as there are, a failover loses nothing that was acknowledged. Where it is Fsynced, a
	// restart loses nothing that was acknowledged.
	Least func(bus.Address) Least
	// Replicas is how many replicas each master must have in step to count as ready; 0 for none.
	Replicas int
	// Fsync makes a server that cannot give FSYNCED, or cannot be asked whether it does, count as not ready.
	Fsync bool
	// AllowEviction lets a server evict. Without it, one with a maxmemory-policy other than noeviction counts as not ready.
	AllowEviction bool
	// Events is how the log of events is kept; without it nothing is told.
	Events bus.Retention
	// Bridges are raw Redis channels of other programs.
	Bridges []bus.BridgeRule
	// Aliases are the channels that addresses share with other programs. It has no effect in a Cluster: those programs
	// know of none.
	Aliases bus.Aliases
	// Metrics takes the store's metrics; none are registered without it.
	Metrics prometheus.Registerer
}

// secretless returns an error about the URL that does not repeat it: it may hold a password.
func secretless(format string, args ...any) error {
	return fmt.Errorf("redis url: %s", fmt.Sprintf(format, args...))
}

// open makes the client. It connects when it is first used.
func (c Config) open() (redis.UniversalClient, error) {
	scheme, rest, ok := strings.Cut(c.URL, "://")
	if !ok {
		return nil, secretless("has no scheme; write redis://, rediss://, redis+sentinel:// or redis+cluster://")
	}
	var secure *tls.Config
	if strings.HasPrefix(scheme, "rediss") {
		secure = &tls.Config{MinVersion: tls.VersionTLS12}
		if len(c.CA) > 0 {
			secure.RootCAs = x509.NewCertPool()
			if !secure.RootCAs.AppendCertsFromPEM(c.CA) {
				return nil, fmt.Errorf("redis ca_file: has no PEM certificate")
			}
		}
	}
	switch strings.TrimPrefix(strings.TrimPrefix(scheme, "rediss"), "redis") {
	case "":
		return c.single(secure)
	case "+sentinel":
		return c.sentinel(rest, secure)
	case "+cluster":
		return c.cluster(rest, secure)
	}
	return nil, secretless("scheme %q is not one of redis, rediss, redis+sentinel, redis+cluster", scheme)
}

func (c Config) single(secure *tls.Config) (redis.UniversalClient, error) {
	o, err := redis.ParseURL(c.URL)
	if err != nil {
		return nil, secretless("cannot be read; write redis://[user:password@]host:port/db")
	}
	// The URL names the server that the certificate has to be for.
	if secure != nil {
		if o.TLSConfig != nil {
			secure.ServerName = o.TLSConfig.ServerName
		}
		o.TLSConfig = secure
	}
	o.MaxRetries = -1 // a command that may have been done is never sent again
	o.ContextTimeoutEnabled = true
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = c.Timeout, c.Timeout, c.Timeout
	o.PoolTimeout = c.Timeout
	o.Protocol = respVersion
	o.MaintNotificationsConfig = plain()
	return redis.NewClient(o), nil
}

// respVersion is RESP 2: nothing of RESP 3 is used, and its push messages are looked for before every answer.
const respVersion = 2

func plain() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// authority is the part of a URL before the path, with several hosts.
type authority struct {
	user, password string
	hosts          []string
	path           []string
}

func readAuthority(rest string) (authority, error) {
	var a authority
	hosts, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndex(hosts, "@"); at >= 0 {
		user, password, _ := strings.Cut(hosts[:at], ":")
		var err, err2 error
		a.user, err = url.PathUnescape(user)
		a.password, err2 = url.PathUnescape(password)
		if err != nil || err2 != nil {
			return a, secretless("user or password is not percent-encoded")
		}
		hosts = hosts[at+1:]
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if name, port, ok := strings.Cut(host, ":"); !ok || name == "" || port == "" {
			return a, secretless("host %q is not host:port", host)
		}
		a.hosts = append(a.hosts, host)
	}
	for part := range strings.SplitSeq(path, "/") {
		if part != "" {
			a.path = append(a.path, part)
		}
	}
	return a, nil
}

func (c Config) sentinel(rest string, secure *tls.Config) (redis.UniversalClient, error) {
	a, err := readAuthority(rest)
	if err != nil {
		return nil, err
	}
	if len(a.path) == 0 {
		return nil, secretless("names no master; write redis+sentinel://host:port/MASTER")
	}
	db := 0
	if len(a.path) > 1 {
		if db, err = strconv.Atoi(a.path[1]); err != nil || db < 0 {
			return nil, secretless("database %q is not a number", a.path[1])
		}
	}
	return redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: a.path[0], SentinelAddrs: a.hosts, Username: a.user, Password: a.password, DB: db, TLSConfig: secure,
		Protocol: respVersion, MaxRetries: -1, ContextTimeoutEnabled: true, DialTimeout: c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout,
		PoolTimeout: c.Timeout,
	}), nil
}

func (c Config) cluster(rest string, secure *tls.Config) (redis.UniversalClient, error) {
	a, err := readAuthority(rest)
	if err != nil {
		return nil, err
	}
	if len(a.path) > 0 {
		return nil, secretless("a cluster has no database %q", a.path[0])
	}
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: a.hosts, Username: a.user, Password: a.password, TLSConfig: secure,
		// go-redis would also repeat commands after a lost connection; redirections are followed by us.
		// A server that refuses connections is tried again by us, too, for which only its own callers wait.
		Protocol: respVersion, MaxRedirects: -1, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout, PoolTimeout: c.Timeout,
		MaintNotificationsConfig: plain(),
	}), nil
}
