package pushserver

// Parse reads a frame, and returns what went wrong or the channel.
func Parse(data []byte) (channel string, err error) {
	c, err := parse(data)
	return c.channel, err
}
