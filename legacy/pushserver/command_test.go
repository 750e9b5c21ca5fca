package pushserver_test

import (
	"encoding/json"
	"testing"

	"github.com/trunkline/trunkline/legacy/pushserver"
)

// Nothing that a client sends is taken for a command unless it is JSON, and nothing breaks the server.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"messageType":"CLIENT_ACTION","uuid":"00000000-0000-4000-8000-000000000000","action":"SUBSCRIBE","data":{"channel":"x"}}`))
	f.Add([]byte(`{"messageType":"SERVER_ACTION","action":"PUSH_MESSAGE","data":{"channel":"x","channelToken":"t","recipients":[null],"message":"m"}}`))
	f.Add([]byte(`{"messageType":"CLIENT_PUSH","code":1e999,"message":"","data":{"pushMessage":null}}`))
	f.Add([]byte(`{"messageType":null,"data":[]}`))
	f.Add([]byte("\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := pushserver.Parse(data); err == nil && !json.Valid(data) {
			t.Errorf("%q is a command", data)
		}
	})
}
