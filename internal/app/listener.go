package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/rest"
)

// listener is one HTTP listener. A nil listener is one that is not there.
type listener struct {
	key     string
	listen  string
	handler http.Handler
	// certificate is the server's; nil for plain text. It is followed by a Run of its own.
	certificate *certificate
	listeners   []net.Listener
	wrap        func(net.Listener) net.Listener // reads what proxies send before everything else; nil for nothing
	idle        time.Duration                   // how long a connection without a request is kept
	// stopping is set when the process is about to stop. Callers that keep their connection are told to close it from then on.
	stopping atomic.Bool
}

func newListener(key, listen string, handler http.Handler, idle time.Duration) *listener {
	if listen == "" {
		return nil
	}
	return &listener{key: key, listen: listen, handler: handler, idle: idle}
}

// open binds the port: both loopback addresses for localhost, where there are both.
func (l *listener) open(ctx context.Context) error {
	if l == nil {
		return nil
	}
	host, port, err := net.SplitHostPort(l.listen)
	if err != nil {
		return fmt.Errorf("%s: %w", l.key, err)
	}
	addresses := []string{l.listen}
	if host == "localhost" {
		addresses = []string{net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("::1", port)}
	}
	var lc net.ListenConfig
	for i, address := range addresses {
		bound, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			if i > 0 && !errors.Is(err, syscall.EADDRINUSE) {
				continue // a host without IPv6
			}
			return explainListen(l.key, err)
		}
		if i == 0 && len(addresses) > 1 {
			_, port, _ := net.SplitHostPort(bound.Addr().String())
			addresses[1] = net.JoinHostPort("::1", port)
		}
		if l.wrap != nil {
			bound = l.wrap(bound)
		}
		l.listeners = append(l.listeners, bound)
	}
	return nil
}

// explainListen names the setting of a listener that cannot be opened.
func explainListen(key string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %w: another program listens there; stop it or set %s", key, err, key)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: %w: this host has no such address", key, err)
	}
	return fmt.Errorf("%s: %w", key, err)
}

func (l *listener) address() string {
	if l == nil || len(l.listeners) == 0 {
		return ""
	}
	return l.listeners[0].Addr().String()
}

// close frees the port. A port that Run has closed already is no error.
func (l *listener) close() error {
	if l == nil {
		return nil
	}
	for _, bound := range l.listeners {
		_ = bound.Close()
	}
	return nil
}

// serve tells callers that keep their connection to close it, once the listener is about to close. A caller that was answered then
// sends nothing more on it, and nothing is lost when it is closed.
func (l *listener) serve(w http.ResponseWriter, r *http.Request) {
	if l.stopping.Load() {
		w.Header().Set("Connection", "close")
	}
	l.handler.ServeHTTP(w, r)
}

// httpGrace is how long open requests may go on after a stop.
const httpGrace = 10 * time.Second

// maxHeader is how many bytes the headers of a request may have. Three tokens of the longest kind fit in, and so a token that is too
// long is mostly told so. What passes here is less than a gRPC server takes.
const maxHeader = 56 << 10

// Run serves until ctx ends, lets open requests finish, and returns nil, or an error when some had to be cut off. Before that,
// once stopping ends, callers are told to close their connections. WebSockets are not waited for: their edge does.
func (l *listener) Run(stopping, ctx context.Context, log *slog.Logger) error {
	defer context.AfterFunc(stopping, func() { l.stopping.Store(true) })()
	srv := &http.Server{
		Handler:           rest.ReadOn(l.serve),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       l.idle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.With("listener", l.key).Handler(), slog.LevelDebug),
	}
	if l.certificate != nil {
		srv.TLSConfig = l.certificate.server()
	}
	var g errgroup.Group
	for _, bound := range l.listeners {
		g.Go(func() error {
			serve := srv.Serve
			if l.certificate != nil {
				serve = func(b net.Listener) error { return srv.ServeTLS(b, "", "") }
			}
			if err := serve(bound); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve %s: %w", l.key, err)
			}
			return nil
		})
	}
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		l.stopping.Store(true)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpGrace)
		defer cancel()
		err := srv.Shutdown(grace)
		if err != nil {
			_ = srv.Close()
			err = fmt.Errorf("%s: requests were left after %s and cut off: %w", l.key, httpGrace, err)
		}
		done <- err
	})
	err := g.Wait()
	if stop() {
		_ = srv.Close() // a listener failed
		return err
	}
	return errors.Join(err, <-done)
}
