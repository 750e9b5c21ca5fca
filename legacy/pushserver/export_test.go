package pushserver

import "github.com/trunkline/trunkline/internal/bus"

// Parse reads a frame, and returns what went wrong or the channel.
func Parse(data []byte) (channel string, err error) {
	c, err := parse(data)
	return c.channel, err
}

// Refused returns the status and the texts of the ERROR for a refusal; the last one is empty when nothing is told.
func Refused(e *bus.Error) (code int, message, details string) {
	f := refused(e)
	t, _ := f.Data.(trouble)
	if t.Details != nil {
		details = *t.Details
	}
	return f.Code, f.Message, details
}
