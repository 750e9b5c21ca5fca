package gateway

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/names"
	"github.com/trunkline/trunkline/internal/payload"
	"github.com/trunkline/trunkline/internal/rest"
)

// codec is the JSON of package payload as the mux wants it.
type codec struct{}

var _ runtime.Marshaler = codec{}

var encoder = payload.Encoder{EmitDefaults: true}

// ContentType returns the media type of every answer.
func (codec) ContentType(any) string { return "application/json" }

// Marshal writes a message.
func (codec) Marshal(v any) ([]byte, error) {
	if m, ok := v.(proto.Message); ok {
		return encoder.Append(nil, m)
	}
	return json.Marshal(v)
}

// Unmarshal reads a message.
func (codec) Unmarshal(b []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return errors.New("not a message")
	}
	return payload.Unmarshal(b, m)
}

// NewDecoder reads the body of a request.
func (c codec) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		if b, ok := r.(*body); ok {
			b.fault = b.decode(v)
			return b.fault
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return c.Unmarshal(raw, v)
	})
}

// NewEncoder writes to w.
func (c codec) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		b, err := c.Marshal(v)
		if err == nil {
			_, err = w.Write(b)
		}
		return err
	})
}

// body is a request body that was read. The generated code turns what its decoder says into text,
// so the error handler finds the error itself here.
type body struct {
	raw   []byte
	fault error
	// path is the path of the request, key its Idempotency-Key.
	path, key string
	// items has what was wrong with each item of a batch that could not be read, by its place.
	items map[int]*payload.Error
}

// bodyKey finds the body of a request in its context.
type bodyKey struct{}

// Read returns nothing: the body was read.
func (b *body) Read([]byte) (int, error) { return 0, io.EOF }

// Close does nothing.
func (b *body) Close() error { return nil }

// batched are the lists whose items are answered each on its own.
var batched = map[protoreflect.FullName]protoreflect.Name{
	"trunkline.publish.v1.BatchPublishRequest":     "requests",
	"trunkline.auth.v1.BatchValidateTokensRequest": "tokens",
}

func (b *body) decode(v any) (err error) {
	m, ok := v.(proto.Message)
	if !ok {
		return errors.New("not a message")
	}
	if list := batched[m.ProtoReflect().Descriptor().FullName()]; list != "" {
		b.items, err = payload.UnmarshalItems(b.raw, m, list)
	} else {
		err = payload.Unmarshal(b.raw, m)
	}
	if err != nil {
		return err
	}
	p, ok := v.(*publishv1.PublishRequest)
	if !ok {
		return nil
	}
	// What is said twice must be said the same: nothing of a request is overruled without a word.
	if p.GetTo() != "" && "/v1/"+names.Address(p.GetTo())+":publish" != b.path {
		return rest.Wrong("to", "differs from the address in the path; leave it out")
	}
	if b.key != "" && p.GetIdempotencyKey() != "" && b.key != p.GetIdempotencyKey() {
		return rest.Wrong("idempotencyKey", "differs from the Idempotency-Key header; send one of them")
	}
	if b.key != "" {
		p.IdempotencyKey = b.key
	}
	return nil
}
