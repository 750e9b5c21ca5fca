package rpc

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// Redial is how often a role that is away is dialled.
var Redial = redial

// Decode reads a message as the server does, up to a limit.
func Decode(limit int, data []byte, m any) error {
	in := &incoming{message: m}
	c := codec{CodecV2: encoding.GetCodecV2("proto"), limit: limit}
	if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, in); err != nil {
		return err
	}
	if in.fault != nil {
		return in.fault
	}
	return nil
}

// What clients have to know of a server.
const (
	DefaultDeadline, MaxDeadline = defaultDeadline, maxDeadline
	MaxStreams, MaxMetadata      = maxStreams, maxMetadata
	PingAfter, PingsApart        = pingAfter, pingsApart
)
