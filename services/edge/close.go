package edge

import (
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// errNotUTF8 is a text frame that is no text (RFC 6455, section 8.1).
var errNotUTF8 = bus.ErrProtocol.With("a text frame must be UTF-8", map[string]string{"close": "1007"})

// errWrongOpcode is a frame of the other type than the subprotocol speaks.
var errWrongOpcode = dialect.ErrWrongOpcode
