// Package server reads what one Redis server says of itself: its life, how it writes to its disk, and whether it evicts.
package server

import (
	"strings"

	"github.com/redis/go-redis/v9"
)

// Field reads one line of an answer to INFO; empty where it has none of that name.
func Field(info, name string) string {
	for line := range strings.SplitSeq(info, "\r\n") {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return value
		}
	}
	return ""
}

// Forbidden says whether a server does not let us run a command.
func Forbidden(err error) bool {
	return redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "unknown command")
}
