package pushserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
)

// command is what a client asks for.
type command struct {
	uuid      string // empty for this connection: the shipped client leaves it out
	subscribe bool   // or unsubscribe
	channel   string
}

// Why a frame is no command.
var (
	errNotJSON = errors.New("Bad JSON")        //nolint:staticcheck // in the words of the protocol
	errInvalid = errors.New("Invalid message") //nolint:staticcheck // in the words of the protocol
	// errIgnored is a message that is well formed, and a server's or a publisher's.
	errIgnored = errors.New("not for us")
)

// uuidForm is what the protocol takes for a UUID.
var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// parse reads a frame. Keys are as written, extra ones are allowed everywhere, and of equal ones the last counts.
func parse(data []byte) (command, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return command{}, errInvalid
	}
	if !json.Valid(data) { // text after the value included
		return command{}, errNotJSON
	}
	o, ok := objectOf(data)
	if !ok {
		return command{}, errInvalid
	}
	if kind, _ := o.text("messageType"); kind != "CLIENT_ACTION" {
		if o.known(kind) {
			return command{}, errIgnored
		}
		return command{}, errInvalid
	}
	inner, ok := o.object("data")
	if !ok {
		return command{}, errInvalid
	}
	c := command{}
	if _, given := o["uuid"]; given {
		if c.uuid, ok = o.text("uuid"); !ok || !uuidForm.MatchString(c.uuid) {
			return command{}, errInvalid
		}
	}
	action, _ := o.text("action")
	c.subscribe = action == "SUBSCRIBE"
	if !c.subscribe && action != "UNSUBSCRIBE" {
		return command{}, errInvalid
	}
	if c.channel, ok = inner.text("channel"); !ok {
		return command{}, errInvalid
	}
	return c, nil
}

// object is a JSON object with its keys as written.
type object map[string]json.RawMessage

func objectOf(data []byte) (object, bool) {
	var o object
	return o, json.Unmarshal(data, &o) == nil && o != nil
}

func (o object) text(key string) (string, bool) {
	var s *string
	if json.Unmarshal(o[key], &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

func (o object) object(key string) (object, bool) { return objectOf(o[key]) }

// hasText says whether a key is a text, and hasNullable whether it is a text or null.
func (o object) hasText(key string) bool { _, ok := o.text(key); return ok }

func (o object) hasNullable(key string) bool { return string(o[key]) == "null" || o.hasText(key) }

func (o object) hasNumber(key string) bool {
	var n *float64
	return json.Unmarshal(o[key], &n) == nil && n != nil
}

func (o object) hasTexts(key string) bool {
	var list []*string
	if json.Unmarshal(o[key], &list) != nil || list == nil {
		return false
	}
	for _, s := range list {
		if s == nil {
			return false
		}
	}
	return true
}

// known says whether the message is a well-formed one of another kind.
func (o object) known(kind string) bool {
	data, ok := o.object("data")
	if !ok {
		return false
	}
	if kind == "SERVER_ACTION" {
		return data.hasText("channel") && o.knownAction(data)
	}
	if !o.hasNumber("code") || !o.hasText("message") {
		return false
	}
	switch kind {
	case "SERVER_ACK":
		return data.hasText("channel") && data.hasNullable("channelToken")
	case "CLIENT_ACK":
		return data.hasText("uuid") && data.hasTexts("subscribedChannels")
	case "CLIENT_PUSH":
		inner, ok := data.object("pushMessage")
		return ok && data.hasText("uuid") && data.hasTexts("subscribedChannels") && inner.hasText("channel") && inner.hasText("message")
	case "ERROR":
		return data.hasNullable("errorDetails")
	case "SERVER_SYSADMIN":
		return data.hasTexts("channels") && data.hasNumber("channelsAmount") && data.hasNumber("clientsAmount")
	}
	return false
}

func (o object) knownAction(data object) bool {
	action, _ := o.text("action")
	switch action {
	case "CREATE_CHANNEL":
		_, given := data["channelToken"]
		return !given || data.hasNullable("channelToken")
	case "PING_CHANNEL", "DELETE_CHANNEL":
		return data.hasNullable("channelToken")
	case "PUSH_MESSAGE":
		return data.hasText("channelToken") && data.hasTexts("recipients") && data.hasText("message")
	}
	return false
}
