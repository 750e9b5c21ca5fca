package pushserver_test

import (
	"net/http"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/legacy/pushserver"
)

// The clients of the older server are told numbers of their protocol, whatever REST answers for the same reason.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		err     *bus.Error
		code    int
		message string
		told    bool
	}{
		{bus.ErrTokenMissing, 401, "Unauthorized", true},
		{bus.ErrTokenInvalid, 401, "Unauthorized", true},
		{bus.ErrTokenExpired, 401, "Unauthorized", true},
		{bus.ErrTokenRevoked, 401, "Unauthorized", true},
		{bus.ErrPermissionDenied, 403, "Forbidden", true},
		{bus.ErrSubscribeDenied, 403, "Forbidden", true},
		{bus.ErrOriginRefused, 403, "Forbidden", true},
		{bus.ErrChannelNotFound, 404, "Not found", true},
		{bus.ErrProtocol, 400, "Bad Request", true},
		{bus.ErrUnsupportedMediaType, 400, "Bad Request", true},
		{bus.ErrRateLimited, 429, "Too Many Requests", true},
		{bus.ErrConnectionLimit, 429, "Too Many Requests", true},
		{bus.ErrSubscriptionLimit, 429, "Too Many Requests", true},
		{bus.ErrSlowConsumer, 429, "Too Many Requests", true},
		{bus.ErrDeadlineExceeded, 503, "Service Unavailable", true},
		{bus.ErrIdleTimeout, 503, "Service Unavailable", true},
		{bus.ErrStoreUnavailable, 503, "Service Unavailable", true},
		{bus.ErrDraining, 503, "Service Unavailable", true},
		{bus.ErrStorageFull, 503, "Service Unavailable", true},
		{bus.ErrFieldInvalid, 400, "Bad Request", true},
		{bus.ErrAddressInvalid, 400, "Bad Request", true},
		{bus.ErrMessageTooLarge, 400, "Bad Request", true},
		{bus.ErrInternal, 500, "Internal Server Error", false},
	} {
		code, message, details := pushserver.Refused(c.err)
		if code != c.code || message != c.message || message != http.StatusText(code) && code != 404 || (details == c.err.Message) != c.told {
			t.Errorf("%s: %d %q %q, want %d %q", c.err.Reason, code, message, details, c.code, c.message)
		}
	}
}
