package rooms

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// The commands that the server knows. Every other command is a message.
const (
	cmdNewID  = "newID"
	cmdSetID  = "setID"
	cmdAck    = "ack"
	cmdAuthor = "sendMessage" // what a message is that nobody sent in this protocol
)

// What the server says by itself.
const (
	sayNewUser      = "newUser"
	sayDisconnected = "userDisconnected"
	sayClientID     = "clientID"
	sayError        = "error"
)

// The attributes of messages.
const (
	attrCommand = "command"
	attrType    = "type"   // the opcode of the frame it came in, unless text
	attrTo      = "to"     // of a copy for bystanders: the client that has a copy of its own
	attrSender  = "sender" // the sender's id, where its name does not tell
	attrEvent   = "event"  // what the server says by itself
)

// command is a frame of a client.
type command struct {
	Name string          `json:"command"`
	Data json.RawMessage `json:"data"`
}

// parse reads a frame. What the original broadcast as an empty command is refused.
func parse(frame []byte) (command, error) {
	var c command
	var bad bus.Invalid
	var syntax *json.SyntaxError
	switch err := json.Unmarshal(frame, &c); {
	case errors.As(err, &syntax):
		return c, bus.ErrInvalidJSON.With(`the frame is not JSON; a frame is {"command":…,"data":…}`, nil)
	case err != nil:
		bad.Add("command", `is not a text, or the frame is no object; a frame is {"command":…,"data":…}`)
		return c, bad.Err()
	}
	switch {
	case c.Name == "":
		bad.Add("command", "is empty")
	case len(c.Name) > maxText:
		bad.Add("command", "has %d bytes, the limit is %d", len(c.Name), maxText)
	case ofServer(c.Name):
		bad.Add("command", "%q is a word of the server's own", c.Name)
	}
	if c.Data == nil {
		c.Data = json.RawMessage("null")
	}
	return c, bad.Err()
}

// ofServer says whether a word is one that the server alone says. From a client it would look as if the server had said it.
func ofServer(word string) bool {
	return word == sayError || word == sayNewUser || word == sayDisconnected || word == sayClientID
}

// maxText is the longest command and the longest id of a client, in bytes.
const maxText = 1024

// text reads the data of a command that takes a text.
func (c command) text() (string, error) {
	var bad bus.Invalid
	var s *string
	if json.Unmarshal(c.Data, &s) != nil || s == nil {
		bad.Add("data", "is not a text; %s takes one", c.Name)
		return "", bad.Err()
	}
	if len(*s) > maxText {
		bad.Add("data", "has %d bytes, the limit is %d", len(*s), maxText)
	}
	return *s, bad.Err()
}

// addressee returns whom a message names in data.to; empty for everybody.
func (c command) addressee() (string, error) {
	var data map[string]json.RawMessage
	if json.Unmarshal(c.Data, &data) != nil {
		return "", nil //nolint:nilerr // no object names nobody
	}
	raw, ok := data["to"]
	if !ok {
		return "", nil
	}
	var to *string
	var bad bus.Invalid
	if json.Unmarshal(raw, &to) != nil {
		bad.Add("data.to", "is not a text")
		return "", bad.Err()
	}
	if to == nil {
		return "", nil
	}
	if len(*to) > maxText {
		bad.Add("data.to", "has %d bytes, the limit is %d", len(*to), maxText)
	}
	return *to, bad.Err()
}

// frame appends what every frame of the server is; data is JSON.
func frame(dst []byte, id string, op dialect.Opcode, command string, data []byte, client string) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendText(dst, id)
	dst = append(dst, `,"type":`...)
	dst = append(dst, '0'+byte(op))
	dst = append(dst, `,"body":{"command":`...)
	dst = appendText(dst, command)
	dst = append(dst, `,"data":`...)
	dst = append(dst, data...)
	dst = append(dst, `},"clientID":`...)
	dst = appendText(dst, client)
	return append(dst, "}\n"...)
}

func appendText(dst []byte, s string) []byte {
	b, _ := json.Marshal(s) // a text always encodes
	return append(dst, b...)
}

// refusal appends the frame of a refusal, which the original had no words for.
func refusal(dst []byte, reason, message string) []byte {
	data, _ := json.Marshal(map[string]string{"reason": reason, "message": message}) // texts always encode
	return frame(dst, "", dialect.Text, sayError, data, "")
}

// refusalOf is refusal for any error.
func refusalOf(err error) []byte {
	var e *bus.Error
	if !errors.As(err, &e) {
		e = bus.ErrInternal
	}
	return refusal(nil, e.Reason, e.Message)
}

// dataOf returns the payload of a message as JSON.
func dataOf(m *bus.Message) []byte {
	switch {
	case len(m.Data) == 0:
		return []byte("null")
	case m.ContentType == bus.Text:
		return appendText(nil, string(m.Data))
	case m.ContentType == bus.Binary:
		return appendText(nil, base64.StdEncoding.EncodeToString(m.Data))
	}
	return m.Data
}

// senderOf returns the id of the sender of a message.
func senderOf(m *bus.Message) string {
	if text, ok := m.Attributes[attrSender]; ok && dialect.Identity(text) == m.From.Client {
		return text
	}
	if m.From.Client == "" {
		return ""
	}
	return dialect.IdentityText(m.From.Client)
}

// opcodeOf returns the type of the frame in which a message came.
func opcodeOf(m *bus.Message) dialect.Opcode {
	if m.Attributes[attrType] == "2" {
		return dialect.Binary
	}
	return dialect.Text
}

// Ids on the wire are 32 hex digits, as they always were: those of a UUID, which is what message ids are. Any other message
// id is itself, behind a mark where it could be taken for one of those.
const mark = "="

// wireID returns the id of an addressee's copy, from which messageID reads the message's.
func wireID(id string) string {
	if digits := strings.ReplaceAll(id, "-", ""); isHex(digits) && dashed(digits) == id && digits[version] != noVersion {
		return digits
	}
	if isHex(id) || strings.HasPrefix(id, mark) {
		return mark + id
	}
	return id
}

// messageID returns the message that an ack means; false when it can mean none.
func messageID(wire string) (string, bool) {
	if id, ok := strings.CutPrefix(wire, mark); ok {
		return id, id != ""
	}
	if !isHex(wire) {
		return wire, wire != "" && len(wire) <= bus.MaxNameLength
	}
	return dashed(wire), wire[version] != noVersion
}

// A bystander's copy has an id of its own, whose digit at the place of a UUID's version belongs to none.
const (
	version   = 12
	noVersion = '0'
)

// copyID returns the id of a connection's copy of a message to everybody.
func copyID(message, connection string) string {
	sum := sha256.Sum256([]byte(message + " " + connection))
	id := []byte(hex.EncodeToString(sum[:16]))
	id[version] = noVersion
	return string(id)
}

// isHex says whether s is 32 lower-case hex digits.
func isHex(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

func dashed(digits string) string {
	return digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:]
}
