package auth

import (
	"sync/atomic"
	"time"
)

// clockSkew is how far the clock of whoever made a token may be off without anybody having noticed.
const clockSkew = 5 * time.Second

// lead is how far the clock of an issuer was ahead of ours at most, as its tokens have shown. A time of issue may be off by as much.
type lead struct{ atomic.Int64 }

// observe notes how far ahead a verified token was issued, and says whether that is more than was known.
func (l *lead) observe(ahead time.Duration) bool {
	for {
		known := l.Load()
		if int64(ahead) <= known {
			return false
		}
		if l.CompareAndSwap(known, int64(ahead)) {
			return true
		}
	}
}

// tolerance is how far a time of issue may be off that is told in whole seconds.
func (l *lead) tolerance(least time.Duration) time.Duration {
	return max(least, time.Duration(l.Load())) + time.Second
}
