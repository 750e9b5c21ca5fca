package rpc

import (
	"compress/zlib"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/payload"
)

// The library answers a message that it cannot read by itself, in front of every interceptor: with INTERNAL and no reason. So what
// comes in is read into an incoming, which cannot fail, and the refusal is told where every other one is.

// headroom is how many times the limit the library lets pass, so that most messages above the limit are refused by us, with a reason.
// What is larger still is not taken in, and the library refuses it.
const headroom = 2

// incoming is a message on its way in, and why it could not be read.
type incoming struct {
	message any
	fault   *bus.Error
}

// receive reads one message by the library's function, and returns the refusal of one that cannot be read.
func receive(into any, read func(any) error) error {
	in := incoming{message: into}
	if err := read(&in); err != nil {
		return err
	}
	if in.fault != nil {
		return in.fault
	}
	return nil
}

// codec is protobuf's, with a limit.
type codec struct {
	encoding.CodecV2
	limit int
}

// newCodec returns a codec that refuses what is larger than limit, in bytes.
func newCodec(limit int) codec { return codec{encoding.GetCodecV2("proto"), limit} }

const (
	// pooledFrom is the size of messages that are worth a buffer of the library's pool.
	pooledFrom = 1 << 10
	// pooledUpTo is the size of the largest message that has a buffer of about its size there. The next larger buffers have 1 MiB,
	// which a message would hold until a slow reader has taken it.
	pooledUpTo = 32 << 10
)

// Marshal writes a message, into a buffer that is not much larger than it.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, errors.New("not a message")
	}
	size := proto.Size(m)
	options := proto.MarshalOptions{UseCachedSize: true}
	if size <= pooledFrom || size > pooledUpTo {
		b, err := options.Marshal(m)
		return mem.BufferSlice{mem.SliceBuffer(b)}, err
	}
	pool := mem.DefaultBufferPool()
	buf := pool.Get(size)
	if _, err := options.MarshalAppend((*buf)[:0], m); err != nil {
		pool.Put(buf)
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(buf, pool)}, nil
}

// Unmarshal reads a message. For an incoming it always succeeds.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*incoming)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	if spoiled(data) {
		in.fault = bus.ErrFieldInvalid.With("the message cannot be decompressed: its bytes are not of the encoding that grpc-encoding names", nil)
		return nil
	}
	if n := data.Len(); n > c.limit {
		in.fault = bus.ErrMessageTooLarge.With("the message has "+strconv.Itoa(n)+" bytes, the limit is "+strconv.Itoa(c.limit),
			map[string]string{"limit": strconv.Itoa(c.limit), "size": strconv.Itoa(n)})
		return nil
	}
	if c.CodecV2.Unmarshal(data, in.message) == nil {
		return nil
	}
	m, ok := in.message.(proto.Message)
	if !ok {
		return errors.New("not a message")
	}
	unread, ok := errors.AsType[*payload.Error](payload.UnmarshalWire(data.Materialize(), m))
	if !ok {
		in.fault = bus.ErrFieldInvalid.With("the message cannot be read", nil)
		return nil
	}
	in.fault = bus.ErrFieldInvalid.With(unread.Message, nil)
	for _, f := range unread.Violations {
		in.fault.Fields = append(in.fault.Fields, bus.FieldViolation{Field: f.Field, Description: f.Description})
	}
	return nil
}

// RegisterService adds a service, and its name to those whose health is told. Requests that cannot be read are refused as others are.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	own := *desc
	own.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, m := range desc.Methods {
		method := "/" + desc.ServiceName + "/" + m.MethodName
		own.Methods[i] = grpc.MethodDesc{MethodName: m.MethodName, Handler: func(
			srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor,
		) (any, error) {
			return m.Handler(srv, ctx, func(v any) error {
				err := receive(v, decode)
				if fault, ok := errors.AsType[*bus.Error](err); ok {
					return s.calls.finish(ctx, method, nil, fault)
				}
				return err
			}, interceptor)
		}}
	}
	s.Server.RegisterService(&own, impl)
	s.tellHealth(desc.ServiceName)
}

// The encodings that the libraries of gRPC have, and so every client. The registry is the process's own; this is the one place that
// writes to it, before anything reads it.
var _ = func() bool {
	encoding.RegisterCompressor(tolerant{encoding.GetCompressor(gzip.Name)})
	encoding.RegisterCompressor(tolerant{deflate{}})
	return true
}()

// deflate is zlib (RFC 1950), as gRPC has it.
type deflate struct{}

// Name returns "deflate".
func (deflate) Name() string { return "deflate" }

// Compress returns a writer that compresses into w.
func (deflate) Compress(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil }

// Decompress returns a reader of what r has compressed. The library bounds what it reads of it.
func (deflate) Decompress(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }

// mark stands behind what could not be decompressed. The library would refuse it as INTERNAL, and the codec knows better. It is
// another one in each process, so that nobody sends it.
var mark = rand.Text()

// spoiled says whether a message ends with the mark.
func spoiled(data mem.BufferSlice) bool {
	if len(data) == 0 {
		return false
	}
	last := data[len(data)-1].ReadOnlyData()
	if len(last) == 0 || last[len(last)-1] != mark[len(mark)-1] {
		return false // nearly always, and nothing is copied
	}
	return strings.HasSuffix(string(data.Materialize()), mark)
}

// tolerant ends what cannot be decompressed with the mark, in place of an error.
type tolerant struct{ encoding.Compressor }

// Decompress returns a reader that does not fail.
func (t tolerant) Decompress(r io.Reader) (io.Reader, error) {
	inner, err := t.Compressor.Decompress(r)
	if err != nil {
		return strings.NewReader(mark), nil //nolint:nilerr // the mark says it
	}
	return &marking{inner: inner}, nil
}

// marking reads on to the mark after a failure.
type marking struct {
	inner  io.Reader
	behind io.Reader // the mark, once inner has failed
}

// Read reads what was compressed, or the mark.
func (m *marking) Read(b []byte) (int, error) {
	if m.behind != nil {
		return m.behind.Read(b)
	}
	n, err := m.inner.Read(b)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	m.behind = strings.NewReader(mark)
	return n, nil
}
