//go:build !linux

package edge

// poller is not there on this system: every session has a goroutine.
type poller struct{}

func newPoller() *poller                 { return nil }
func (*poller) run(func(*session)) error { return nil }
func (*poller) close()                   {}
func (*poller) watch(*session) error     { return nil }
func (*poller) forget(*session)          {}
