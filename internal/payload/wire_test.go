package payload_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/payload"
)

// chunk is a length-delimited field.
func chunk(number protowire.Number, content string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), content)
}

func TestUnmarshalWire_NamesTheField(t *testing.T) {
	item := chunk(1, "channels/a")
	for name, c := range map[string]struct {
		body   string
		fields []string
		kind   payload.Kind
	}{
		"text is not UTF-8":         {string(chunk(1, string(chunk(1, "channels/\xff")))), []string{"requests[0].to"}, payload.FieldInvalid},
		"of the second item":        {string(chunk(1, string(item))) + string(chunk(1, string(chunk(8, "\xff")))), []string{"requests[1].idempotency_key"}, payload.FieldInvalid},
		"two of them":               {string(chunk(1, string(chunk(1, "\xff"))+string(chunk(8, "\xfe")))), []string{"requests[0].to", "requests[0].idempotency_key"}, payload.FieldInvalid},
		"in a list":                 {string(chunk(1, string(chunk(4, "ok"))+string(chunk(4, "\xff")))), []string{"requests[0].recipients[1]"}, payload.FieldInvalid},
		"in the value of a map":     {string(chunk(1, string(chunk(6, string(chunk(1, "k"))+string(chunk(2, "\xff")))))), []string{"requests[0].attributes.value"}, payload.FieldInvalid},
		"in a message within":       {string(chunk(1, string(chunk(9, string(chunk(2, "\xff")))))), []string{"requests[0].sender.user"}, payload.FieldInvalid},
		"a message that is cut off": {string(chunk(1, "\x0a\x7fabc")), []string{"requests[0].to"}, payload.Malformed},
		"no protobuf at all":        {"this is text", nil, payload.Malformed},
		"JSON":                      {`{"requests":[]}`, nil, payload.Malformed},
		"cut off":                   {"\x0a\x7fabc", []string{"requests[0]"}, payload.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			err := payload.UnmarshalWire([]byte(c.body), new(publishv1.BatchPublishRequest))
			e, ok := errors.AsType[*payload.Error](err)
			if !ok || e.Kind != c.kind || e.Kind.Reason() != "FIELD_INVALID" || e.Message == "" || len(e.Violations) != len(c.fields) {
				t.Fatalf("got %v, %+v", err, e)
			}
			for i, field := range c.fields {
				if e.Violations[i].Field != field {
					t.Errorf("names %q, want %q", e.Violations[i].Field, field)
				}
			}
		})
	}
	good := new(publishv1.PublishRequest)
	if err := payload.UnmarshalWire(item, good); err != nil || good.GetTo() != "channels/a" {
		t.Errorf("a good one: %v, %v", err, good)
	}
}
