package rooms

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/requestid"
	"github.com/trunkline/trunkline/internal/rest"
	"github.com/trunkline/trunkline/legacy"
)

// roomIDTimeout is how long a room id may take.
const roomIDTimeout = 10 * time.Second

// NewHTTP returns the handler of the older message server's GET /roomid, whose answer is the bare number. Errors are
// {"message":…}, as they were. conn must send no credentials of its own. The handler is safe for concurrent use.
func NewHTTP(conn grpc.ClientConnInterface) http.Handler {
	client := legacyv1.NewRoomsServiceClient(conn)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := requestid.Of(w, r)
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Type", "application/json; charset=utf-8")
		ctx, cancel := context.WithTimeout(legacy.Outgoing(r, id), roomIDTimeout)
		defer cancel()
		res, err := client.NextRoomID(ctx, &legacyv1.NextRoomIDRequest{})
		if err != nil {
			writeMessage(w, rest.FromError(err))
			return
		}
		_, _ = w.Write(strconv.AppendInt(nil, res.GetId(), 10)) // the client may be gone
	})
}

// writeMessage writes a refusal in the shape {"message":…}.
func writeMessage(w http.ResponseWriter, e *rest.Refusal) {
	if e.Retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.Retry.Seconds()))))
	}
	body, _ := json.Marshal(map[string]string{"message": e.Message}) // a text always encodes
	w.WriteHeader(e.HTTP)
	_, _ = w.Write(body) // the client may be gone
}
