package rooms

// WireID and MessageID are what frames call messages, and back.
var (
	WireID    = wireID
	MessageID = messageID
)

// Parse reads a frame, and whom it names.
func Parse(frame []byte) (name, to string, err error) {
	c, err := parse(frame)
	if err != nil {
		return "", "", err
	}
	to, err = c.addressee()
	return c.Name, to, err
}

// Room is the room that the path of a handshake names.
var Room = room
