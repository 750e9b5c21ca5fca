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

// standing is the data of an answer: the client and its subscriptions.
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

// statuses are what clients of the older server are told about refusals. Its own were 403, 404 and 500. They are numbers
// of this protocol, and no more than that: a client knows these, whatever other surfaces answer for the same reason.
var statuses = map[string]int{
	bus.ErrTokenMissing.Reason: http.StatusUnauthorized, bus.ErrTokenInvalid.Reason: http.StatusUnauthorized,
	bus.ErrTokenExpired.Reason: http.StatusUnauthorized, bus.ErrTokenRevoked.Reason: http.StatusUnauthorized,
	bus.ErrPermissionDenied.Reason: http.StatusForbidden, bus.ErrSubscribeDenied.Reason: http.StatusForbidden,
	bus.ErrOriginRefused.Reason: http.StatusForbidden, bus.ErrChannelNotFound.Reason: http.StatusNotFound,
	bus.ErrProtocol.Reason: http.StatusBadRequest, bus.ErrUnsupportedMediaType.Reason: http.StatusBadRequest,
	bus.ErrFieldInvalid.Reason: http.StatusBadRequest, bus.ErrAddressInvalid.Reason: http.StatusBadRequest,
	bus.ErrMessageTooLarge.Reason: http.StatusBadRequest,
	bus.ErrRateLimited.Reason:     http.StatusTooManyRequests, bus.ErrConnectionLimit.Reason: http.StatusTooManyRequests,
	bus.ErrSubscriptionLimit.Reason: http.StatusTooManyRequests, bus.ErrSlowConsumer.Reason: http.StatusTooManyRequests,
}

// refused is an ERROR for a refusal of ours. What passes is 503, and of what went wrong inside nothing is told.
func refused(e *bus.Error) frame {
	code, known := statuses[e.Reason]
	switch {
	case code == http.StatusNotFound:
		return failure(code, "Not found", e.Message)
	case known:
	case e.RetryAfter > 0 && e.Reason != bus.ErrInternal.Reason:
		code = http.StatusServiceUnavailable
	default:
		code = http.StatusInternalServerError
		return frame{Type: "ERROR", Code: code, Message: http.StatusText(code), Data: trouble{}}
	}
	return failure(code, http.StatusText(code), e.Message)
}

// textOf is the text that a message is to a client. Text stays as it is, a JSON string becomes its value and other JSON its
// text; binary becomes base64.
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
