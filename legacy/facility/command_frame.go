package facility

import "encoding/json"

// commandFrame is a frame for the server, where commands are allowed: {"command":"SET key1 15",…}. It is answered with itself
// and the result, or why not.
type commandFrame struct {
	Command   *string         `json:"command"`
	SessionID json.RawMessage `json:"sessionId,omitempty"`
	Date      json.RawMessage `json:"date,omitempty"`
	Result    any             `json:"result,omitempty"`
	Error     *refused        `json:"error,omitempty"`
}

type refused struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// nothing is null, which omitempty does not leave out.
var nothing = json.RawMessage("null")
