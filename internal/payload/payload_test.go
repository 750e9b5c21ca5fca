package payload_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	errorsv1 "github.com/trunkline/trunkline/gen/go/trunkline/errors/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/payload"
)

func TestUnmarshal_Payload(t *testing.T) {
	const binary, text = publishv1.ContentType_CONTENT_TYPE_BINARY, publishv1.ContentType_CONTENT_TYPE_TEXT
	const plain, js = publishv1.ContentType_CONTENT_TYPE_UNSPECIFIED, publishv1.ContentType_CONTENT_TYPE_JSON
	tests := []struct {
		name, body, data string
		contentType      publishv1.ContentType
	}{
		{"object", `{"data":{"a":1}}`, `{"a":1}`, plain},
		{"compacted", ` { "data" : { "a" : [ 1 , 2 ] } } `, `{"a":[1,2]}`, plain},
		{"space inside strings stays", `{"data":" a  b "}`, `" a  b "`, plain},
		{"string", `{"data":"x"}`, `"x"`, plain},
		{"number keeps its digits", `{"data":1.00e+02}`, `1.00e+02`, plain},
		{"null is a value", `{"data":null}`, `null`, plain},
		{"false", `{"data":false,"contentType":"CONTENT_TYPE_JSON"}`, `false`, js},
		{"duplicates inside a payload are the sender's", `{"data":{"a":1,"a":2}}`, `{"a":1,"a":2}`, plain},
		{"text", `{"contentType":"CONTENT_TYPE_TEXT","data":"a\n\u00e9\ud83d\ude00"}`, "a\né😀", text},
		{"text before its type", `{"data":"{}","content_type":2}`, `{}`, text},
		{"text with the replacement character", `{"data":"\ufffd","content_type":2}`, "\ufffd", text},
		{"escaped backslash before ufffd", `{"data":"\\ufffd","content_type":2}`, `\ufffd`, text},
		{"binary", `{"data":"AP8=","contentType":"CONTENT_TYPE_BINARY"}`, "\x00\xff", binary},
		{"binary, url alphabet, no padding", `{"data":"-_8","contentType":3}`, "\xfb\xff", binary},
		{"escaped names", `{"\u0064ata":"hi","content\u0054ype":"CONTENT_TYPE_T\u0045XT"}`, `hi`, text},
		{"type of another object", `{"data":"x","attributes":{"contentType":"CONTENT_TYPE_TEXT"}}`, `"x"`, plain},
		{"type as a float", `{"data":"x","contentType":2.0}`, `x`, text},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got publishv1.PublishRequest
			if err := payload.Unmarshal([]byte(tt.body), &got); err != nil {
				t.Fatal(err)
			}
			if string(got.GetData()) != tt.data || got.GetContentType() != tt.contentType {
				t.Errorf("got %q as %v, want %q as %v", got.GetData(), got.GetContentType(), tt.data, tt.contentType)
			}
		})
	}
}

func TestUnmarshal_NestedPayloads(t *testing.T) {
	t.Run("in a list", func(t *testing.T) {
		var got publishv1.BatchPublishRequest
		body := `{"requests":[{"to":"channels/a","data":1},{"data":"x","contentType":"CONTENT_TYPE_TEXT"}, {"data":[]}]}`
		if err := payload.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"1", "x", "[]"} {
			if s := string(got.GetRequests()[i].GetData()); s != want {
				t.Errorf("request %d: got %q, want %q", i, s, want)
			}
		}
	})
	t.Run("in a frame", func(t *testing.T) {
		var got edgev1.ClientFrame
		body := `{"id":7,"publish":{"data":{"x":"y"},"to":"channels/a","ttl":"1.5s"}}`
		if err := payload.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		p := got.GetPublish()
		if got.GetId() != 7 || string(p.GetData()) != `{"x":"y"}` || p.GetTtl().AsDuration() != 1500*time.Millisecond {
			t.Errorf("got %v", &got)
		}
	})
}

func TestUnmarshal_Refuses(t *testing.T) {
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	tests := []struct{ name, body, reason, field, says string }{
		{"empty", ``, "INVALID_JSON", "", "empty"},
		{"space", " \n", "INVALID_JSON", "", "empty"},
		{"open brace", `{`, "INVALID_JSON", "", "ends too early"},
		{"list", `[]`, "INVALID_JSON", "", "not a JSON object"},
		{"string", `"x"`, "INVALID_JSON", "", "not a JSON object"},
		{"null", `null`, "INVALID_JSON", "", "not a JSON object"},
		{"trailing brace", `{"to":"a"}}`, "INVALID_JSON", "", "byte 11"},
		{"trailing object", `{} {}`, "INVALID_JSON", "", "byte 4"},
		{"trailing comma", `{"to":"a",}`, "INVALID_JSON", "", "byte 11"},
		{"comment", `{/**/}`, "INVALID_JSON", "", "byte 2"},
		{"single quotes", `{'to':1}`, "INVALID_JSON", "", "byte 2"},
		{"mismatched payload", `{"data":[}}`, "INVALID_JSON", "", "byte 10"},
		{"bare word payload", `{"data":nul}`, "INVALID_JSON", "", "byte 12"},
		{"leading zero", `{"data":01}`, "INVALID_JSON", "", "byte 10"},
		{"raw line break in a string", "{\"data\":\"a\nb\"}", "INVALID_JSON", "", "byte 11"},
		{"not UTF-8", "{\"to\":\"\xff\"}", "INVALID_JSON", "", "UTF-8"},
		{"deep payload behind a wrong field", `{"data":` + deep + `,"to":7}`, "FIELD_INVALID", "to", "a string"},
		{"deep elsewhere", `{"to":` + deep + `}`, "INVALID_JSON", "", "levels deep"},
		{"unknown field", `{"to":"channels/a","dta":1}`, "UNKNOWN_FIELD", "dta", "not a field"},
		{"unknown nested field", `{"sender":{"cliemt":"a"}}`, "UNKNOWN_FIELD", "sender.cliemt", "not a field"},
		{"unknown field of another case", `{"Data":1}`, "UNKNOWN_FIELD", "Data", "not a field"},
		{"duplicate", `{"to":"a","to":"b"}`, "FIELD_INVALID", "to", "twice"},
		{"duplicate in two spellings", `{"contentType":1,"content_type":2}`, "FIELD_INVALID", "content_type", "twice"},
		{"duplicate payload", `{"data":1,"data":2}`, "FIELD_INVALID", "data", "twice"},
		{"duplicate attribute", `{"attributes":{"a":"1","a":"2"}}`, "FIELD_INVALID", "attributes.a", "twice"},
		{"number for string", `{"to":7}`, "FIELD_INVALID", "to", "a string"},
		{"string for bool", `{"excludeSender":"yes"}`, "FIELD_INVALID", "excludeSender", "true or false"},
		{"object for enum", `{"contentType":{}}`, "FIELD_INVALID", "contentType", "CONTENT_TYPE_TEXT"},
		{"unknown content type in the way of data", `{"contentType":99,"data":{},"ttl":1}`, "FIELD_INVALID", "ttl", "duration"},
		{"unknown enum name", `{"contentType":"TEXT"}`, "FIELD_INVALID", "contentType", "CONTENT_TYPE_TEXT"},
		{"enum out of range", `{"contentType":2147483648}`, "FIELD_INVALID", "contentType", "whole number"},
		{"string for list", `{"recipients":"a"}`, "FIELD_INVALID", "recipients", "a list"},
		{"number in list", `{"recipients":["a",1]}`, "FIELD_INVALID", "recipients[1]", "a string"},
		{"list for map", `{"attributes":["a"]}`, "FIELD_INVALID", "attributes", "an object"},
		{"string for message", `{"sender":"ada"}`, "FIELD_INVALID", "sender", "an object"},
		{"duration", `{"ttl":"1h"}`, "FIELD_INVALID", "ttl", "1.5s"},
		{"text is no string", `{"data":{},"contentType":"CONTENT_TYPE_TEXT"}`, "FIELD_INVALID", "data", "a string"},
		{"half a surrogate pair", `{"data":"\ud800","contentType":"CONTENT_TYPE_TEXT"}`, "FIELD_INVALID", "data", "Unicode"},
		{"half a surrogate pair elsewhere", `{"to":"\ud800"}`, "FIELD_INVALID", "to", "Unicode"},
		{"binary is no base64", `{"data":"%","contentType":"CONTENT_TYPE_BINARY"}`, "FIELD_INVALID", "data", "base64"},
		{"binary is null", `{"data":null,"contentType":"CONTENT_TYPE_BINARY"}`, "FIELD_INVALID", "data", "base64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkRefusal(t, payload.Unmarshal([]byte(tt.body), &publishv1.PublishRequest{}), tt.reason, tt.field, tt.says)
		})
	}
}

func TestUnmarshal_RefusesNumbers(t *testing.T) {
	for _, tt := range []struct{ value, says string }{
		{`"x"`, "whole number"},
		{`1.5`, "whole number"},
		{`"18446744073709551616"`, "whole number"},
		{`-1`, "whole number"},
		{`1e999999999`, "whole number"},
		{`true`, "whole number"},
		{`""`, "whole number"},
	} {
		err := payload.Unmarshal([]byte(`{"address":"a","after":{"offset":`+tt.value+`}}`), &publishv1.ListMessagesRequest{})
		checkRefusal(t, err, "FIELD_INVALID", "after.offset", tt.says)
	}
	for _, value := range []string{`1000`, `"1000"`, `1e3`, `1000.0`} {
		var got publishv1.ListMessagesRequest
		if err := payload.Unmarshal([]byte(`{"after":{"offset":`+value+`}}`), &got); err != nil || got.GetAfter().GetOffset() != 1000 {
			t.Errorf("%s: got %v, %v", value, &got, err)
		}
	}
}

func TestUnmarshal_NamesEveryWrongField(t *testing.T) {
	err := payload.Unmarshal([]byte(`{"to":1,"recipients":{},"ttl":5}`), &publishv1.PublishRequest{})
	var e *payload.Error
	if !errors.As(err, &e) || len(e.Violations) != 3 {
		t.Fatalf("got %#v", err)
	}
	err = payload.Unmarshal([]byte(`{"connect":{},"ping":{}}`), &edgev1.ClientFrame{})
	checkRefusal(t, err, "FIELD_INVALID", "ping", "together with connect")
	err = payload.Unmarshal([]byte(`{"issuedBefore":"yesterday"}`), &authv1.RevokeTokenRequest{})
	checkRefusal(t, err, "FIELD_INVALID", "issuedBefore", "a time such as")
}

func checkRefusal(t *testing.T, err error, reason, field, says string) {
	t.Helper()
	var e *payload.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a refusal", err)
	}
	if e.Kind.Reason() != reason || !strings.Contains(e.Message, says) {
		t.Errorf("got %s %q, want %s with %q", e.Kind.Reason(), e.Message, reason, says)
	}
	if field != "" && (len(e.Violations) != 1 || e.Violations[0].Field != field) {
		t.Errorf("got %v, want the field %s", e.Violations, field)
	}
	for _, word := range []string{"proto", "invalid character", "unmarshal", "literal", "syntax error", "json:"} {
		if strings.Contains(e.Message, word) {
			t.Errorf("%q speaks of the implementation", e.Message)
		}
	}
}

func TestMarshal(t *testing.T) {
	message := func(data string, ct publishv1.ContentType) proto.Message {
		return &edgev1.ServerFrame{Event: &edgev1.ServerFrame_Message{Message: &publishv1.Message{Data: []byte(data), ContentType: ct}}}
	}
	tests := []struct {
		name string
		m    proto.Message
		want string
	}{
		{"JSON", message(`{"a": "b"}`, 0), `{"message":{"data":{"a": "b"}}}`},
		{"JSON over lines", message("{\n\"a\":\r\n 1}", 1), `{"message":{"data":{"a":1},"contentType":"CONTENT_TYPE_JSON"}}`},
		{"no JSON over lines", message("a\nb", 1), `{"message":{"data":"a\nb","contentType":"CONTENT_TYPE_JSON"}}`},
		{"text", message("<\"é\u2028\x01\xff", 2), `{"message":{"data":"<\"é` + "\u2028" + `\u0001` + "\ufffd" + `","contentType":"CONTENT_TYPE_TEXT"}}`},
		{"binary", message("\x00\xff", 3), `{"message":{"data":"AP8=","contentType":"CONTENT_TYPE_BINARY"}}`},
		{"type of a newer writer", message("x", 9), `{"message":{"data":"eA==","contentType":9}}`},
		{"nothing", &publishv1.PublishResponse{}, `{}`},
		{"64 bits", &publishv1.Position{Epoch: "e", Offset: 1 << 63}, `{"epoch":"e","offset":"9223372036854775808"}`},
		{"sorted map", &publishv1.Channel{Labels: map[string]string{"b": "2", "a": "1"}}, `{"labels":{"a":"1","b":"2"}}`},
		{
			"times", &publishv1.Channel{CreateTime: timestamppb.New(time.Unix(1, 5e6)), HistoryAge: durationpb.New(-1500 * time.Millisecond)},
			`{"createTime":"1970-01-01T00:00:01.005Z","historyAge":"-1.500s"}`,
		},
		{"empty message in a oneof", &edgev1.ServerFrame{Id: 3, Event: &edgev1.ServerFrame_Pong{Pong: &edgev1.Pong{}}}, `{"id":3,"pong":{}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := payload.Marshal(tt.m)
			if err != nil || string(got) != tt.want {
				t.Errorf("got %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
	t.Run("defaults", func(t *testing.T) {
		got, err := payload.Encoder{EmitDefaults: true}.Append([]byte("x"), &publishv1.ListMembersResponse{})
		if want := `x{"members":[],"totalSize":0}`; err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	})
	t.Run("time out of range", func(t *testing.T) {
		if _, err := payload.Marshal(&publishv1.Channel{CreateTime: &timestamppb.Timestamp{Seconds: 1 << 60}}); err == nil {
			t.Error("got no error")
		}
	})
}

// What has no payload is protobuf's own JSON mapping.
func TestMarshal_IsProtobufJSON(t *testing.T) {
	for _, m := range []proto.Message{
		&authv1.IssueTokenRequest{
			Client: "a\"b", Groups: []string{"x", "y"}, Ttl: durationpb.New(time.Minute + 7), Refreshable: true,
			Grants: []*authv1.Grant{{Address: "channels/*", Actions: []authv1.Action{authv1.Action_ACTION_PUBLISH, 77}}},
		},
		&errorsv1.Error{Code: 7, Metadata: map[string]string{"k": "\t"}, FieldViolations: []*errorsv1.FieldViolation{{Field: "f"}}},
		&authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_IssuedBefore{IssuedBefore: timestamppb.New(time.Unix(1700000000, 123456789))}},
	} {
		b, err := payload.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got := m.ProtoReflect().New().Interface()
		if err := protojson.Unmarshal(b, got); err != nil || !proto.Equal(got, m) {
			t.Errorf("%s reads as %v, %v", b, got, err)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, s := range []string{
		`{"data":1}`, `{"requests":[{"data":"x","contentType":"CONTENT_TYPE_TEXT"}]}`, `{`, `{"publish":{"data":{}}}`,
		`{"id":1,"connect":{"token":"a","subscriptions":[{"address":"x","after":{"offset":"1"}}]}}`, `{"data":"\ud800"}`, `{"data":[}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []proto.Message{&edgev1.ClientFrame{}, &publishv1.PublishRequest{}, &publishv1.BatchPublishRequest{}} {
			if err := payload.Unmarshal(b, m); err != nil {
				var e *payload.Error
				if !errors.As(err, &e) || e.Message == "" {
					t.Fatalf("%q: %#v", b, err)
				}
				continue
			}
			out, err := payload.Marshal(m)
			if err != nil {
				t.Fatalf("%q reads and cannot be written: %v", b, err)
			}
			again := m.ProtoReflect().New().Interface()
			if err := payload.Unmarshal(out, again); err != nil || !proto.Equal(m, again) {
				t.Fatalf("%q is written as %q: %v", b, out, err)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	m := &edgev1.ServerFrame{Event: &edgev1.ServerFrame_Message{Message: &publishv1.Message{
		Id: "0197d5c2-7f55-7000-8000-1a2b3c4d5e6f", To: "channels/orders:eu", Data: []byte(`{"text":"` + strings.Repeat("x", 80) + `"}`),
		ContentType: 1, PublishTime: timestamppb.New(time.Unix(1700000000, 5e6)), Position: &publishv1.Position{Epoch: "e1", Offset: 42},
	}}}
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf, _ = payload.Append(buf[:0], m)
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	body := []byte(`{"id":1,"publish":{"to":"channels/orders:eu","data":{"text":"` + strings.Repeat("x", 80) + `"}}}`)
	b.ReportAllocs()
	var m edgev1.ClientFrame
	for b.Loop() {
		if err := payload.Unmarshal(body, &m); err != nil {
			b.Fatal(err)
		}
	}
}

// What other languages spell in their own way is taken as it is meant, and what is for the service to refuse comes to it.
func TestUnmarshal_TakesWhatIsMeant(t *testing.T) {
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	for name, tt := range map[string]struct {
		body string
		want *publishv1.PublishRequest
	}{
		"PHP's empty map":             {`{"to":"a","attributes":[]}`, &publishv1.PublishRequest{To: "a"}},
		"with space in it":            {`{"to":"a","attributes":[ ` + "\n" + ` ]}`, &publishv1.PublishRequest{To: "a"}},
		"an empty list as a payload":  {`{"data":[]}`, &publishv1.PublishRequest{Data: []byte(`[]`)}},
		"a content type there is not": {`{"contentType":99,"data":{"a":1}}`, &publishv1.PublishRequest{ContentType: 99, Data: []byte(`{"a":1}`)}},
		"and a negative one":          {`{"data":"x","content_type":-1}`, &publishv1.PublishRequest{ContentType: -1, Data: []byte(`"x"`)}},
		"a deep payload":              {`{"data":` + deep + `}`, &publishv1.PublishRequest{Data: []byte(deep)}},
	} {
		t.Run(name, func(t *testing.T) {
			got := new(publishv1.PublishRequest)
			if err := payload.Unmarshal([]byte(tt.body), got); err != nil || !proto.Equal(got, tt.want) {
				t.Errorf("got %.200v, %v", got, err)
			}
		})
	}
	batch := new(publishv1.BatchPublishRequest)
	if err := payload.Unmarshal([]byte(`{"requests":[{"to":"a","attributes":[]}]}`), batch); err != nil || len(batch.GetRequests()) != 1 {
		t.Errorf("in a batch: %v, %v", batch, err)
	}
	channel := new(publishv1.CreateChannelRequest)
	if err := payload.Unmarshal([]byte(`{"name":"channels/a","labels":[]}`), channel); err != nil || channel.GetName() != "channels/a" {
		t.Errorf("labels: %v, %v", channel, err)
	}
}

// The items of a batch fail each on its own, in whatever way, and what is wrong around them fails the whole.
func TestUnmarshalItems(t *testing.T) {
	bad := map[string]string{
		`{"to":"b","data":"*","contentType":"CONTENT_TYPE_BINARY"}`: "data",
		`{"to":"b","contentType":"TEXT"}`:                           "contentType",
		`{"to":"b","replicas":1e40}`:                                "replicas",
		`{"to":"b","dta":1}`:                                        "dta",
		`{"to":7}`:                                                  "to",
		`{"to":"b","to":"c"}`:                                       "to",
		`{"to":"b","ttl":"1h"}`:                                     "ttl",
		`{"to":"b","recipients":["a",1]}`:                           "recipients[1]",
		`{"to":"b","sender":{"cliemt":"a"}}`:                        "sender.cliemt",
		`{"to":"\ud800"}`:                                           "to",
		`7`:                                                         "", `null`: "", `"x"`: "", `[]`: "", `true`: "",
		`{"to":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`: "",
	}
	for item, field := range bad {
		body := `{"requests":[{"to":"a"}, ` + item + ` ,{"to":"c"}]}`
		m := new(publishv1.BatchPublishRequest)
		faults, err := payload.UnmarshalItems([]byte(body), m, "requests")
		if err != nil || len(faults) != 1 || faults[1] == nil || len(m.GetRequests()) != 3 || m.GetRequests()[0].GetTo() != "a" || m.GetRequests()[2].GetTo() != "c" {
			t.Errorf("%.60s: %v, %v, %v", item, m, faults, err)
			continue
		}
		if field != "" && (len(faults[1].Violations) != 1 || faults[1].Violations[0].Field != field) {
			t.Errorf("%s: names %v", item, faults[1].Violations)
		}
		if !proto.Equal(m.GetRequests()[1], &publishv1.PublishRequest{}) {
			t.Errorf("%s: left %v", item, m.GetRequests()[1])
		}
	}
	for _, whole := range []string{
		`{"requests":[{"to":"a"},{"to":7}],"x":1}`, `{"requests":[{"to":7}],"requests":[]}`, `{"requests":{"to":7}}`, `{"requests":[{"to":7}]`,
		`{"requests":7}`, `[]`, ``, `{"requests":[{"to":"\x"}]}`,
	} {
		if faults, err := payload.UnmarshalItems([]byte(whole), new(publishv1.BatchPublishRequest), "requests"); err == nil || faults != nil {
			t.Errorf("%s: %v, %v", whole, faults, err)
		}
	}
}
