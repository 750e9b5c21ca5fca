package wire

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// hungUp says whether the other end is known to have gone. Either it has closed the connection, also when there is something to
// read before that, or the connection has failed.
func hungUp(raw syscall.RawConn) bool {
	if raw == nil {
		return false
	}
	gone := false
	err := raw.Control(func(fd uintptr) {
		look := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} // a descriptor
		n, err := unix.Poll(look, 0)
		gone = err == nil && n > 0 && look[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return err != nil || gone
}
