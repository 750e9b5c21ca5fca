package proxyproto

import "time"

// ReadHeader is readHeader for the fuzzer.
var ReadHeader = readHeader

// SetTimeout sets how long a proxy may take.
func (r *Reader) SetTimeout(d time.Duration) { r.timeout = d }
