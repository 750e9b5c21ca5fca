package gateway

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/rest"
)

var (
	// errGone is why an event could not be written: its reader is gone. Any other error says that the event cannot be encoded.
	errGone     = errors.New("the reader of the stream is gone")
	errInternal = rest.Refuse("INTERNAL", "", nil)
)

// gapTailUnknown is the reason of a gap where nobody can say what is missing.
const gapTailUnknown = "tail_unknown"

// unencodable logs what could not be encoded, at most once in ten seconds.
type unencodable struct {
	log  *slog.Logger
	last atomic.Int64 // when something was logged, in Unix seconds
}

func (u *unencodable) complain(why error) {
	now := time.Now().Unix()
	if last := u.last.Load(); now-last >= 10 && u.last.CompareAndSwap(last, now) {
		u.log.Error("an event of a stream cannot be encoded; its reader is told so", "error", why)
	}
}

// lostMessage is a message that cannot be encoded.
type lostMessage struct {
	message *publishv1.Message
	why     error
}

func (l *lostMessage) Error() string { return "message " + l.message.GetId() + ": " + l.why.Error() }

// gap tells where it was.
func (l *lostMessage) gap() *publishv1.Gap {
	gap := &publishv1.Gap{Address: l.message.GetTo(), To: l.message.GetPosition(), Reason: gapTailUnknown}
	if at := l.message.GetPosition(); at.GetOffset() > 0 {
		gap.After = &publishv1.Position{Epoch: at.GetEpoch(), Offset: at.GetOffset() - 1}
	}
	return gap
}
