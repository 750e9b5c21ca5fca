package pushserver

import (
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/trunkline/trunkline/internal/bus"
)

// frame is what the server says.
type frame struct {
	Type    string `json:"messageType"`
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data"`
}

// standing is the data of an answer: who the client is and what it is subscribed to.
type standing struct {
	UUID     string   `json:"uuid"`
	Channels []string `json:"subscribedChannels"`
	Push     *push    `json:"pushMessage,omitempty"`
}

// push is a message.
type push struct {
	Channel string `json:"channel"`
	Message string `json:"message"`
}

// trouble is the data of an ERROR.
type trouble struct {
	Details *string `json:"errorDetails"`
}

func failure(code int, message, details string) frame {
	return frame{Type: "ERROR", Code: code, Message: message, Data: trouble{&details}}
}

// appendTo appends the frame's text to dst.
func (f frame) appendTo(dst []byte) []byte {
	b, err := json.Marshal(f)
	if err != nil {
		return dst // texts and numbers always encode
	}
	return append(dst, b...)
}

// refused is an ERROR for a refusal of ours; the older server knew none of them but 403, 404 and 500.
func refused(e *bus.Error) frame {
	code := http.StatusInternalServerError
	switch e.Reason {
	case bus.ErrTokenMissing.Reason, bus.ErrTokenInvalid.Reason, bus.ErrTokenExpired.Reason, bus.ErrTokenRevoked.Reason:
		code = http.StatusUnauthorized
	case bus.ErrPermissionDenied.Reason, bus.ErrSubscribeDenied.Reason, bus.ErrOriginRefused.Reason:
		code = http.StatusForbidden
	case bus.ErrChannelNotFound.Reason:
		return failure(http.StatusNotFound, "Not found", e.Message)
	case bus.ErrProtocol.Reason, bus.ErrUnsupportedMediaType.Reason:
		code = http.StatusBadRequest
	case bus.ErrRateLimited.Reason, bus.ErrConnectionLimit.Reason, bus.ErrSubscriptionLimit.Reason, bus.ErrSlowConsumer.Reason:
		code = http.StatusTooManyRequests
	default:
		if e.RetryAfter > 0 && e.Reason != bus.ErrInternal.Reason {
			code = http.StatusServiceUnavailable
			break
		}
		return frame{Type: "ERROR", Code: code, Message: http.StatusText(code), Data: trouble{}}
	}
	return failure(code, http.StatusText(code), e.Message)
}

// textOf is the text that a message is to a client: a text as it is, a JSON string as its value, other JSON as its
// text, and binary in base64.
func textOf(m *bus.Message) string {
	switch m.ContentType {
	case bus.Binary:
		return base64.StdEncoding.EncodeToString(m.Data)
	case bus.JSON:
		var s *string
		if json.Unmarshal(m.Data, &s) == nil && s != nil {
			return *s
		}
	}
	return string(m.Data)
}
