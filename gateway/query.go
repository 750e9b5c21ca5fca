package gateway

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/rest"
)

const (
	maxQuery     = 4096
	maxQueryKeys = 32
)

// queried are the requests that take a query, by the last part of their path.
var queried = map[string]proto.Message{
	"messages": (*publishv1.ListMessagesRequest)(nil),
	"members":  (*publishv1.ListMembersRequest)(nil),
	"stream":   (*publishv1.ConsumeRequest)(nil),
	"inbox":    (*publishv1.ListInboxRequest)(nil),
}

// requestOf returns the request whose fields a query may set; nil when it may set none.
func requestOf(method, path string) proto.Message {
	parts := strings.Split(strings.TrimPrefix(path, "/v1/"), "/")
	switch {
	case method != http.MethodGet:
		return nil
	case path == eventsPath:
		return (*hooksv1.WatchEventsRequest)(nil)
	case path == "/v1/channels":
		return (*publishv1.ListChannelsRequest)(nil)
	case len(parts) < 2, len(parts) == 2 && parts[0] != "broadcast":
		return nil // a channel may be called messages
	case len(parts) > 3 && parts[len(parts)-3] == "receipts":
		return nil
	}
	return queried[parts[len(parts)-1]]
}

// checkQuery refuses what the request does not know, and what is said twice. The mux would ignore
// the one and take some of the other.
func checkQuery(method string, u *url.URL) error {
	if u.RawQuery == "" {
		return nil
	}
	if len(u.RawQuery) > maxQuery {
		return rest.Wrong("query", "is longer than 4096 bytes")
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(values) > maxQueryKeys {
		return rest.Wrong("query", "is not well formed or has more than 32 keys")
	}
	var unknown, bad []*errdetails.BadRequest_FieldViolation
	add := func(list *[]*errdetails.BadRequest_FieldViolation, key, text string) {
		*list = append(*list, &errdetails.BadRequest_FieldViolation{Field: key, Description: text})
	}
	m := requestOf(method, u.Path)
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(values)) { // so that the same query has the same answer
		list := values[key]
		if !utf8.ValidString(key) {
			add(&unknown, strings.ToValidUTF8(key[:min(64, len(key))], "\ufffd"), "is not UTF-8")
			continue
		}
		d := queryField(m, key)
		if d == nil || strings.Contains(u.Path, "/v1/") && (key == "address" || key == "name") {
			if len(key) > 64 {
				key = strings.ToValidUTF8(key[:64], "") + "…"
			}
			add(&unknown, key, "is not a query key of this route")
			continue
		}
		if (len(list) > 1 && !d.IsList()) || seen[string(d.FullName())] {
			add(&bad, key, "stands there twice")
		} else if fault := firstFault(d, list); fault != "" {
			add(&bad, key, fault)
		}
		seen[string(d.FullName())] = true
	}
	if len(unknown) > 0 {
		return rest.Invalid("UNKNOWN_FIELD", unknown[0].GetField()+": "+unknown[0].GetDescription(), unknown...)
	}
	if len(bad) > 0 {
		return rest.Invalid("FIELD_INVALID", bad[0].GetField()+": "+bad[0].GetDescription(), bad...)
	}
	return nil
}

func queryField(m proto.Message, key string) protoreflect.FieldDescriptor {
	if m == nil {
		return nil
	}
	d := m.ProtoReflect().Descriptor()
	parts := strings.Split(key, ".")
	if len(parts) > 4 {
		return nil
	}
	for i, part := range parts {
		f := d.Fields().ByJSONName(part)
		if f == nil {
			f = d.Fields().ByTextName(part)
		}
		switch {
		case f == nil:
			return nil
		case i == len(parts)-1:
			return f
		case f.Message() == nil || f.IsList() || f.IsMap():
			return nil
		}
		d = f.Message()
	}
	return nil
}

// firstFault says what is wrong with the first value that is wrong.
func firstFault(d protoreflect.FieldDescriptor, values []string) string {
	for _, v := range values {
		if fault := queryValue(d, v); fault != "" {
			return fault
		}
	}
	return ""
}

func queryValue(d protoreflect.FieldDescriptor, v string) string {
	if !utf8.ValidString(v) {
		return "is not UTF-8"
	}
	switch d.Kind() {
	case protoreflect.BoolKind:
		if v != "true" && v != "false" {
			return "must be true or false"
		}
	case protoreflect.Int32Kind:
		if _, err := strconv.ParseInt(v, 10, 32); err != nil {
			return "must be a whole number"
		}
	case protoreflect.Uint64Kind:
		if _, err := strconv.ParseUint(v, 10, 64); err != nil {
			return "must be a whole number, 0 or more"
		}
	case protoreflect.MessageKind:
		return "has parts; set them, such as after.epoch and after.offset"
	}
	return ""
}
