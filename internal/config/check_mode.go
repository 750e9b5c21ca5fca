package config

import (
	"net"
	"net/url"
)

func (c *checking) tls() {
	pair := func(key string, t TLS) {
		switch {
		case (t.CertFile == "") != (t.KeyFile == ""):
			c.fail(key+".cert_file", "cert_file and key_file are set together")
		case t.CertFile != "":
			if _, err := t.Load(); err != nil {
				c.fail(key+".cert_file", "%v", err)
			}
		}
	}
	pair("http.tls", c.cfg.HTTP.TLS)
	pair("grpc.tls", c.cfg.GRPC.TLS)
	g := c.cfg.GRPC
	if g.ClientCAFile != "" {
		if g.TLS.CertFile == "" {
			c.fail("grpc.client_ca_file", "needs grpc.tls: a caller's certificate comes with TLS")
		}
		if _, err := LoadPool(g.ClientCAFile); err != nil {
			c.fail("grpc.client_ca_file", "%v", err)
		}
	}
	if len(g.ClientScopes) > 0 && g.ClientCAFile == "" {
		c.fail("grpc.client_scopes", "needs grpc.client_ca_file")
	}
	if g.CAFile != "" {
		if _, err := LoadPool(g.CAFile); err != nil {
			c.fail("grpc.ca_file", "%v", err)
		}
	}
}

// keepToLoopback moves the listeners that nobody asked for to this machine alone.
func (c *Config) keepToLoopback(origins map[string]string) {
	for key, listen := range map[string]*string{"http.listen": &c.HTTP.Listen, "grpc.listen": &c.GRPC.Listen} {
		if origins[key] == "default" {
			_, port, _ := net.SplitHostPort(*listen)
			*listen = net.JoinHostPort("localhost", port)
			origins[key] = "development mode"
		}
	}
}

// development checks what only a process on a developer's machine may do.
func (c *checking) development() {
	if !c.cfg.all() {
		c.fail("dev", "development mode runs all roles in one process; leave roles out, or dev")
	}
	if u, err := url.Parse(c.cfg.HTTP.PublicURL); err == nil && u.Host != "" && !loopbackHost(u.Host) {
		c.fail("http.public_url", "%q is not this machine, and development mode lets everybody in; leave dev out", c.cfg.HTTP.PublicURL)
	}
}

// production checks what has to be there when not everybody may do everything.
func (c *checking) production() {
	if c.cfg.Runs(RoleAuth) && len(c.cfg.Auth.Keys) == 0 {
		c.fail("auth.keys", "is empty, and nothing could sign tokens; make one (openssl genpkey -algorithm ed25519 -out k1.pem)"+
			" and set auth.keys: [{id: k1, algorithm: EdDSA, private_key_file: k1.pem}], or start with --dev")
	}
	if u, err := url.Parse(c.cfg.HTTP.PublicURL); err == nil && u.Scheme == "http" && !loopbackHost(u.Host) {
		c.fail("http.public_url", "%q is http: tokens would travel in the open; use https", c.cfg.HTTP.PublicURL)
	}
	if c.cfg.GRPC.Reflection == "on" && !loopbackListen(c.cfg.GRPC.Listen) {
		c.fail("grpc.reflection", "on needs a loopback grpc.listen, or development mode")
	}
}
