package rpc

import (
	"fmt"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

const (
	// maxAcks is how many messages one request acknowledges.
	maxAcks = 1000
	// maxID is the longest id of a message, in bytes.
	maxID = 128
)

// IsMessageID says whether s could be the id of a message: 1 to 128 visible ASCII characters.
func IsMessageID(s string) bool {
	if s == "" || len(s) > maxID {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// CheckAcks notes what is wrong with the ids of a request; every door that takes acks calls it.
func CheckAcks(bad *bus.Invalid, req *publishv1.AckMessagesRequest) {
	if n := len(req.GetIds()); n == 0 || n > maxAcks {
		bad.Add("ids", "has %d entries, allowed are 1 to %d", n, maxAcks)
		return
	}
	for i, id := range req.GetIds() {
		if !IsMessageID(id) {
			bad.Add(fmt.Sprintf("ids[%d]", i), "is no message id")
		}
	}
}

// AckAnswer says what became of acks, by index.
func AckAnswer(acks []bus.Ack, errs []error) *publishv1.AckMessagesResponse {
	resp := &publishv1.AckMessagesResponse{}
	for i, err := range errs {
		if err == nil {
			resp.Acked++
			continue
		}
		resp.Refused = append(resp.Refused, &publishv1.AckRefusal{Id: acks[i].ID, Error: ErrorProto(err)})
	}
	return resp
}
