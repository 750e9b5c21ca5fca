// Package redisurl reads the URL of a Redis. The check of a configuration and the store use it both, so neither accepts what the
// other refuses.
package redisurl

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Shape is how the servers of a Redis belong together.
type Shape int

const (
	// Single is one server.
	Single Shape = iota
	// Sentinel is a master with replicas, which sentinels watch.
	Sentinel
	// Cluster is several masters, each with a part of the slots.
	Cluster
)

// URL is where a Redis is, and who signs in there.
type URL struct {
	// Shape says how the servers belong together.
	Shape Shape
	// TLS says that connections are encrypted.
	TLS bool
	// Socket is the path of a Unix socket; there are no hosts then.
	Socket string
	// Hosts are host:port: the server, the sentinels, or some servers of the Cluster.
	Hosts []string
	// Master is the name by which sentinels know the master.
	Master string
	// DB is the number of the database.
	DB int
	// User and Password sign in at the server. Either may be empty.
	User, Password string
}

// form is what a scheme stands for.
type form struct {
	shape  Shape
	tls    bool
	socket bool
	port   string // where a host names none
}

const (
	serverPort   = "6379"
	sentinelPort = "26379"
	maxSocket    = 107 // bytes of a path that the kernel takes
	maxDB        = 1<<31 - 1
)

var forms = map[string]form{
	"redis":           {port: serverPort},
	"rediss":          {port: serverPort, tls: true},
	"redis+sentinel":  {port: sentinelPort, shape: Sentinel},
	"rediss+sentinel": {port: sentinelPort, shape: Sentinel, tls: true},
	"redis+cluster":   {port: serverPort, shape: Cluster},
	"rediss+cluster":  {port: serverPort, shape: Cluster, tls: true},
	"unix":            {socket: true},
	"redis+unix":      {socket: true},
}

// Parse reads a URL:
//
//	redis://[user:password@]host[:port][/db]
//	rediss://…  the same over TLS
//	redis+sentinel://[user:password@]host[:port],host[:port]/master[/db]
//	redis+cluster://[user:password@]host[:port],host[:port]
//	unix://[user:password@]/path[?db=n]  also written redis+unix://
//
// With rediss+sentinel and rediss+cluster, all connections are over TLS. An error says of the URL what is wrong with it, and
// repeats nothing of what stands before the last @: that may be a password.
func Parse(text string) (URL, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	f, known := forms[strings.ToLower(scheme)]
	if !ok || !known {
		return URL{}, fmt.Errorf("is not a Redis URL: it begins with redis://, rediss://, redis+sentinel://, rediss+sentinel://, " +
			"redis+cluster://, rediss+cluster:// or unix://")
	}
	u := URL{Shape: f.shape, TLS: f.tls}
	rest, err := u.signIn(rest)
	if err != nil {
		return URL{}, err
	}
	if strings.Contains(rest, "#") {
		return URL{}, fmt.Errorf("has a fragment; write # as %%23")
	}
	rest, query, _ := strings.Cut(rest, "?")
	where := u.servers
	if f.socket {
		where = u.socket
	}
	if err := where(rest, f); err != nil {
		return URL{}, err
	}
	return u, u.parameters(query)
}

// signIn reads the user and the password, and returns what stands behind them.
func (u *URL) signIn(rest string) (string, error) {
	// The last @, so that nothing of a password that has one counts as a host, which errors repeat.
	at := strings.LastIndex(rest, "@")
	if at < 0 {
		return rest, nil
	}
	raw := rest[:at]
	user, password, _ := strings.Cut(raw, ":")
	var err, err2 error
	u.User, err = url.PathUnescape(user)
	u.Password, err2 = url.PathUnescape(password)
	if err != nil || err2 != nil || strings.ContainsAny(raw, "/?#@[]") || strings.ContainsFunc(raw, unprintable) {
		return "", fmt.Errorf("has a user or a password that cannot be read: a password with special characters is percent-encoded, such as %%40 for @")
	}
	if u.User != "" && u.Password == "" {
		return "", fmt.Errorf("has a user without a password; write USER:PASSWORD@, or :PASSWORD@ for a password alone")
	}
	return rest[at+1:], nil
}

func unprintable(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }

// servers reads the hosts and the path behind them.
func (u *URL) servers(rest string, f form) error {
	hosts, path, _ := strings.Cut(rest, "/")
	if hosts == "" {
		return fmt.Errorf("names no host")
	}
	for text := range strings.SplitSeq(hosts, ",") {
		host, err := address(text, f.port)
		if err != nil {
			return err
		}
		if !slices.Contains(u.Hosts, host) {
			u.Hosts = append(u.Hosts, host)
		}
	}
	if u.Shape == Single && strings.Contains(hosts, ",") {
		return fmt.Errorf("names several hosts; several servers are redis+sentinel:// or redis+cluster://")
	}
	return u.path(strings.TrimSuffix(path, "/"))
}

// path reads what stands behind the hosts.
func (u *URL) path(path string) error {
	switch u.Shape {
	case Cluster:
		if path != "" && path != "0" {
			return fmt.Errorf("names the database %q, and a Cluster has database 0 alone; use redis.prefix to share it", path)
		}
	case Sentinel:
		master, db, _ := strings.Cut(path, "/")
		name, err := url.PathUnescape(master)
		if err != nil || name == "" || strings.ContainsFunc(name, unprintable) {
			return fmt.Errorf("names no master; write redis+sentinel://HOST:PORT,HOST:PORT/MASTER")
		}
		u.Master = name
		return u.database(db)
	case Single:
		return u.database(path)
	}
	return nil
}

// address reads one host with its port.
func address(text, port string) (string, error) {
	host := text
	if i := strings.LastIndex(text, ":"); i >= 0 && !strings.HasSuffix(text, "]") {
		host, port = text[:i], text[i+1:]
	}
	bare, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		var closed bool
		bare, closed = strings.CutSuffix(bare, "]")
		bare = strings.Replace(bare, "%25", "%", 1) // before a zone, as RFC 6874 writes it
		if ip, err := netip.ParseAddr(bare); !closed || err != nil || !ip.Is6() {
			return "", fmt.Errorf("has the host %q, which is not an IPv6 address in brackets", host)
		}
	}
	switch {
	case host == "":
		return "", fmt.Errorf("has a part without a host; write HOST:PORT")
	case !bracketed && strings.Contains(host, ":"):
		return "", fmt.Errorf("has the host %q with more than one colon; an IPv6 address stands in brackets", text)
	case !bracketed && strings.ContainsFunc(host, outsideName):
		return "", fmt.Errorf("has the host %q, with a character that no host has", host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("has the port %q, allowed are 1 to 65535", port)
	}
	return net.JoinHostPort(bare, port), nil
}

func outsideName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
}

// socket reads the path of a Unix socket.
func (u *URL) socket(rest string, _ form) error {
	path, err := url.PathUnescape(rest)
	switch {
	case err != nil:
		return fmt.Errorf("has a path that is not percent-encoded")
	case !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/"):
		return fmt.Errorf("names no socket; write unix:///PATH/OF/redis.sock")
	case len(path) > maxSocket:
		return fmt.Errorf("has a path of %d bytes, and a socket has at most %d", len(path), maxSocket)
	case strings.ContainsRune(path, 0):
		return fmt.Errorf("has a path with a NUL byte")
	}
	u.Socket = path
	return nil
}

// database reads the number of a database; none is 0.
func (u *URL) database(text string) error {
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > maxDB {
		return fmt.Errorf("has the database %q, which is not a number from 0 on", text)
	}
	u.DB = int(n)
	return nil
}

// parameters reads what stands behind the question mark.
func (u *URL) parameters(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("has parameters that cannot be read; allowed is db, such as ?db=1")
	}
	for name, all := range values {
		switch {
		case name != "db": // its value is not repeated: it may be a password
			return fmt.Errorf("has the parameter %q, allowed is db; everything else is a setting of its own", name)
		case len(all) > 1:
			return fmt.Errorf("has the parameter db twice")
		case u.Shape == Cluster && all[0] != "0":
			return fmt.Errorf("names the database %q, and a Cluster has database 0 alone; use redis.prefix to share it", all[0])
		}
		before := u.DB
		if err := u.database(all[0]); err != nil {
			return err
		}
		if before != 0 && before != u.DB {
			return fmt.Errorf("names two databases, %d and %d", before, u.DB)
		}
	}
	return nil
}

// Same says whether two URLs differ at most in who signs in.
func (u URL) Same(other URL) bool {
	return u.Shape == other.Shape && u.TLS == other.TLS && u.Socket == other.Socket && slices.Equal(u.Hosts, other.Hosts) &&
		u.Master == other.Master && u.DB == other.DB
}
