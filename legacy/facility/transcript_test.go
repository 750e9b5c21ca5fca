package facility_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge/dialect/dialecttest"
)

// Scenes of the protocol, frame by frame.
func TestTranscripts(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
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
	_, err := h.sessions.RegisterSession(soon(t), bad)
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
	if _, err := nobody.RegisterSession(soon(t), &legacyv1.RegisterSessionRequest{Key: "k", User: "root"}); err == nil {
		t.Error("nobody registered a session")
	}
}

// On Redis, sessions and what is stored outlive every process.
func TestRestart(t *testing.T) {
	server := redistest.Start(t)
	h := start(t, closed, apptest.Redis(server.URL()))
	john := h.login(t, "john")
	c := h.dial(t, 0, "f?subscribe-user&publish-user&echo", cookie(john))
	c.send("before")
	c.gets("before")
	_ = c.closes(1000, "")
	for _, p := range h.Processes {
		testkit.Check(t, p.Stop())
	}
	h = start(t, closed, apptest.Redis(server.URL()))
	h.dial(t, 0, "f?subscribe-user", cookie(john)).gets("before")
}

// The user of deploy/redis.acl needs no more than the older names besides.
func TestACL(t *testing.T) {
	file, err := os.ReadFile("../../deploy/redis.acl")
	testkit.Check(t, err)
	_, rules, _ := strings.Cut(string(file), "user trunkline ")
	server := redistest.Start(t)
	out, err := server.CLI(append([]string{"acl", "setuser", "trunkline", "~ws4redis:*"}, append(strings.Fields(rules), "&ws4redis:*")...)...)
	if err != nil || !strings.HasPrefix(out, "OK") {
		t.Fatal(out, err)
	}
	h := start(t, apptest.Redis(strings.Replace(server.URL(), "://", "://trunkline:change-me@", 1)))
	c := h.dial(t, 0, "f?subscribe-broadcast&publish-broadcast&echo", nil)
	c.send("x")
	c.gets("x")
	h.dial(t, 0, "f?subscribe-broadcast", nil).gets("x")
	if log, _ := server.CLI("acl", "log"); strings.TrimSpace(log) != "" {
		t.Errorf("refused: %s", log)
	}
}
