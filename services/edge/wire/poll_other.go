//go:build !linux

package wire

// poller is not there on this system: every connection has a goroutine.
type poller struct{}

func newPoller() *poller              { return nil }
func (*poller) run(func(*Conn)) error { return nil }
func (*poller) close()                {}
func (*poller) watch(*Conn) error     { return nil }
func (*poller) forget(*Conn)          {}
