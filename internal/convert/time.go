package convert

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

var (
	firstTime = time.Date(1, time.January, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(9999, time.December, 31, 23, 59, 59, 999_999_999, time.UTC)
)

// Time returns a time as answers tell it; nil for the zero time, which is none. A message can tell the years 1 to 9999 alone, and one
// with any other time cannot be encoded as JSON at all (google/protobuf/timestamp.proto). The store may have any. A time beyond them
// is told as the first or the last that there is, so that what is around it arrives.
func Time(t time.Time) *timestamppb.Timestamp {
	switch {
	case t.IsZero():
		return nil
	case t.Before(firstTime):
		t = firstTime
	case t.After(lastTime):
		t = lastTime
	}
	return timestamppb.New(t)
}
