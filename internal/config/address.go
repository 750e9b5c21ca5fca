package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/trunkline/trunkline/internal/loopback"
	"github.com/trunkline/trunkline/internal/redis/redisurl"
)

// checkListen says what is wrong with an address to listen on: host:port or :port.
func checkListen(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if n, err := strconv.Atoi(s); err == nil && n > 0 {
			return fmt.Errorf("%q has no host (try \":%s\" or \"127.0.0.1:%s\")", s, s, s)
		}
		return fmt.Errorf("%q is not an address (try \":8080\" or \"127.0.0.1:8080\")", s)
	}
	if err := checkPort(port); err != nil {
		return fmt.Errorf("%q: %w", s, err)
	}
	if host != "" && host != "localhost" {
		if _, err := netip.ParseAddr(host); err != nil {
			return fmt.Errorf("%q: the host is an IP address, localhost, or nothing for all", s)
		}
	}
	return nil
}

// checkTarget says what is wrong with an address to connect to.
func checkTarget(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return fmt.Errorf("%q is not host:port (try \"auth:9090\")", s)
	}
	if err := checkPort(port); err != nil {
		return fmt.Errorf("%q: %w", s, err)
	}
	return nil
}

func checkPort(s string) error {
	if strings.Contains(s, "@") { // and what is before it may be a password
		return errors.New("has a user and a password, and there is no place for them")
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("port %q, allowed are 1 to 65535", s)
	}
	return nil
}

// checkRedisURL says what is wrong with the URL of a Redis without repeating it: it may hold a password.
func checkRedisURL(s string) error {
	if _, err := redisurl.Parse(s); err != nil {
		return fmt.Errorf("%s %w", hidden, err)
	}
	return nil
}

// loopbackListen says whether an address to listen on is reached from this host alone.
func loopbackListen(s string) bool {
	host, _, err := net.SplitHostPort(s)
	return err == nil && loopback.Host(host)
}
