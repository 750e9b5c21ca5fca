package native //nolint:testpackage // decodeConnect is private

import (
	"testing"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/payload"
)

// connects are frames, and whether decodeConnect takes them.
var connects = map[string]bool{
	`{"id":1,"connect":{"token":"abc"}}`:        true,
	"\t{ \"connect\" : {\n} , \"id\" : 0 }\r\n": true,
	`{"connect":{"token":"a.b-c_d","name":"x y","subscriptions":[{"address":"channels/a","after":{"epoch":"e","offset":"18446744073709551615"}},{"address":"channels/b","fromBeginning":true},{}]}}`: true,
	`{"id":4294967295,"connect":{"ticket":"t","subscriptions":[{"address":"a","fromLast":false,"presence":true,"after":{"offset":12}}]}}`:                                                            true,
	`{"connect":{"subscriptions":[]}}`:                   true,
	`{"id":1}`:                                           false,
	`{}`:                                                 false,
	``:                                                   false,
	`{"id":1,"connect":{"token":"a\u0062"}}`:             false,
	`{"id":1,"connect":{"token":"é"}}`:                   false,
	`{"id":1,"id":2,"connect":{}}`:                       false,
	`{"id":4294967296,"connect":{}}`:                     false,
	`{"id":01,"connect":{}}`:                             false,
	`{"id":1.0,"connect":{}}`:                            false,
	`{"id":1e0,"connect":{}}`:                            false,
	`{"id":"1","connect":{}}`:                            false,
	`{"id":-1,"connect":{}}`:                             false,
	`{"id":null,"connect":{}}`:                           false,
	`{"connect":{},"ping":{}}`:                           false,
	`{"connect":{}} x`:                                   false,
	`{"connect":{},}`:                                    false,
	`{"connect":{"token":"a"`:                            false,
	`{"connect":{"token":1}}`:                            false,
	`{"connect":{"subscriptions":[{},]}}`:                false,
	`{"connect":{"subscriptions":[{"x":1}]}}`:            false,
	`{"connect":{"subscriptions":[{"from_last":true}]}}`: false,
	`{"connect":{"subscriptions":[{"presence":tru}]}}`:   false,
	`{"connect":{"subscriptions":[{"after":{"offset":"18446744073709551616"}}]}}`: false,
	`{"connect":{"subscriptions":[{"after":{"offset":" 1"}}]}}`:                   false,
	`{"connect":{"subscriptions":[{"after":{"offset":"1 "}}]}}`:                   false,
	`{"connect":{"subscriptions":[{"after":{"offset":""}}]}}`:                     false,
	`{"connect":{"subscriptions":[{"after":{"offset":"1`:                          false,
}

func TestDecodeConnect(t *testing.T) {
	for frame, want := range connects {
		if _, got := decodeConnect([]byte(frame)); got != want {
			t.Errorf("%s: taken %v, want %v", frame, got, want)
		}
	}
}

// FuzzDecodeConnect holds the short way to the long one: what it takes, the other takes too, with the same result.
func FuzzDecodeConnect(f *testing.F) {
	for frame := range connects {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame string) {
		got, ok := decodeConnect([]byte(frame))
		if !ok {
			return
		}
		want := new(edgev1.ClientFrame)
		if err := payload.Unmarshal([]byte(frame), want); err != nil {
			t.Fatalf("%q is taken, and refused by the decoder of all frames: %v", frame, err)
		}
		if !proto.Equal(got, want) {
			t.Fatalf("%q became %v, and should be %v", frame, got, want)
		}
	})
}
