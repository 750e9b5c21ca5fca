package server_test

import (
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/redis/server"
)

// FuzzInfo reads a field of an answer to INFO: one whole line of it, and the first of its name.
func FuzzInfo(f *testing.F) {
	f.Fuzz(func(t *testing.T, info, name, value string) {
		got := server.Field(info, name)
		if got != "" && !strings.Contains("\r\n"+info, "\r\n"+name+":"+got) {
			t.Errorf("%s of %q is %q", name, info, got)
		}
		if strings.Contains(name+value, "\r\n") || strings.Contains(info, name+":") {
			return
		}
		if got := server.Field(name+":"+value+"\r\n"+info, name); got != value && !strings.HasPrefix(value, "\n") {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
		if server.HasWaitAOF(info) && server.Field(info, "redis_version") == "" {
			t.Errorf("%q is of a server with WAITAOF", info)
		}
	})
}
