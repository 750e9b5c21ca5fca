package facility_test

import (
	"crypto/rand"
	"fmt"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/dialect/dialecttest"
)

// Scenes of the protocol, frame by frame.
func TestTranscripts(t *testing.T) {
	everywhere(t, func(t *testing.T, h *house) {
		dialecttest.Replay(t, "testdata/*.txt", dialecttest.Config{Addresses: h.at, Values: map[string]string{
			"run": rand.Text(), "john": h.login(t, "john", "chatusers"), "mary": h.login(t, "mary", "chatusers"),
		}})
	})
}

// One who registers a session says who somebody is, so nobody may without an API key, and everything is checked.
func TestRegisterSession_checks(t *testing.T) {
	h := start(t)
	bad := &legacyv1.RegisterSessionRequest{
		Key: "", User: string(make([]byte, 300)), Groups: []string{""},
		Ttl: durationpb.New(0), Grants: []*authv1.Grant{{Address: "nonsense"}},
	}
	_, err := h.sessions.RegisterSession(t.Context(), bad)
	var fields []string
	if e := rpc.FromError(err); e != nil {
		for _, f := range e.Fields {
			fields = append(fields, f.Field)
		}
	}
	if fmt.Sprint(fields) != "[key user groups[0] ttl grants[0].address grants[0].actions]" {
		t.Errorf("wrong are %q: %v", fields, err)
	}
	nobody := legacyv1.NewFacilityServiceClient(apptest.Dial(t, h.GRPC, ""))
	if _, err := nobody.RegisterSession(t.Context(), &legacyv1.RegisterSessionRequest{Key: "k", User: "root"}); err == nil {
		t.Error("nobody registered a session")
	}
}
