package rpc_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
)

// The page for clients of every language says what the server does: keepalive, limits and deadlines.
func TestGRPCPage_saysWhatTheServerDoes(t *testing.T) {
	b, err := os.ReadFile("../../docs/grpc.md")
	testkit.Check(t, err)
	thousands := fmt.Sprintf("%d,%03d", rpc.MaxStreams/1000, rpc.MaxStreams%1000)
	for _, row := range []string{
		fmt.Sprintf("| metadata | %d KiB;", rpc.MaxMetadata>>10),
		fmt.Sprintf("| deadline | a unary call without one ends after %g s, and with one after %g s at most;", rpc.DefaultDeadline.Seconds(), rpc.MaxDeadline.Seconds()),
		fmt.Sprintf("| keepalive | pings no closer than %g s, also without a call; the server pings after %g s |", rpc.PingsApart.Seconds(), rpc.PingAfter.Seconds()),
		fmt.Sprintf("| streams | %s calls on one connection,", thousands),
		fmt.Sprintf("| size of a request | `grpc.max_message`, %d MiB unless", rpc.DefaultMaxMessage>>20),
	} {
		if !strings.Contains(string(b), "\n"+row) {
			t.Errorf("docs/grpc.md does not say %q", row)
		}
	}
}

// spelled is a request as tools spell it that know protobuf's own JSON alone.
var spelled = regexp.MustCompile(`grpcurl -d '([^']+)'`)

// The request for grpcurl is one, and carries the payload that the page means.
func TestGRPCPage_showsARequestOfJSONTools(t *testing.T) {
	b, err := os.ReadFile("../../docs/grpc.md")
	testkit.Check(t, err)
	m := spelled.FindSubmatch(b)
	if m == nil {
		t.Fatal("docs/grpc.md shows no request for grpcurl")
	}
	var request publishv1.PublishRequest
	testkit.Check(t, protojson.Unmarshal(m[1], &request))
	if string(request.GetData()) != `{"text":"hi"}` || !json.Valid(request.GetData()) || request.GetTo() == "" {
		t.Errorf("it publishes %q to %q", request.GetData(), request.GetTo())
	}
	contract, err := os.ReadFile("../../proto/trunkline/publish/v1/publish_service.proto")
	testkit.Check(t, err)
	if !regexp.MustCompile(`// [^\n]*base64[^\n]*\n  bytes data = 2;`).Match(contract) {
		t.Error("the contract does not say at data how JSON tools spell it")
	}
}
