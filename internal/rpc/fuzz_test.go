package rpc_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// FuzzDecode holds the codec to the library's: it takes what that takes up to its limit, and refuses the rest with a reason.
func FuzzDecode(f *testing.F) {
	const limit = 512
	f.Fuzz(func(t *testing.T, data []byte) {
		got, want := new(publishv1.BatchPublishRequest), new(publishv1.BatchPublishRequest)
		err := rpc.Decode(limit, data, got)
		if len(data) <= limit && proto.Unmarshal(data, want) == nil {
			if err != nil || !proto.Equal(got, want) {
				t.Fatalf("%x is %v, %v, want %v", data, got, err, want)
			}
			return
		}
		e, ok := errors.AsType[*bus.Error](err)
		if !ok || e.Reason == "INTERNAL" || e.Message == "" || (e.Reason == bus.ErrMessageTooLarge.Reason) != (len(data) > limit) {
			t.Fatalf("%d bytes are refused with %v", len(data), err)
		}
	})
}

// FuzzDecompress says that whatever a message is said to be compressed with is read without an error, which the library would call
// one of ours. What cannot be decompressed ends with the mark, and is refused by the codec.
func FuzzDecompress(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{"gzip", "deflate"} {
			c := encoding.GetCompressor(name)
			r, err := c.Decompress(bytes.NewReader(data))
			if err != nil {
				t.Fatalf("%s of %x: %v", name, data, err)
			}
			plain, err := io.ReadAll(io.LimitReader(r, 1<<20))
			if err != nil {
				t.Fatalf("%s of %x: %v", name, data, err)
			}
			var packed bytes.Buffer
			w, err := c.Compress(&packed)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(plain); err != nil || w.Close() != nil {
				t.Fatal(err)
			}
			r, err = c.Decompress(&packed)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := io.ReadAll(r); err != nil || !bytes.Equal(again, plain) {
				t.Fatalf("%s of %x is %x, %v", name, plain, again, err)
			}
		}
	})
}

// FuzzAPIKey says that a key is known by its text and by its digest alike, and that a refusal does not show it.
func FuzzAPIKey(f *testing.F) {
	f.Fuzz(func(t *testing.T, text, id, digest string) {
		k, err := rpc.ParseAPIKey(text, rpc.ScopeAll)
		if err != nil && len(text) > 40 && strings.Contains(err.Error(), text[len(text)-24:]) {
			t.Errorf("the refusal shows it: %v", err)
		}
		if err == nil {
			sum := sha256.Sum256([]byte(text))
			same, err := rpc.ParseAPIKeyDigest(k.ID, hex.EncodeToString(sum[:]), rpc.ScopeAll)
			if err != nil || same.Digest != k.Digest || same.ID != k.ID || !strings.HasPrefix(text, "tlk_"+k.ID+"_") {
				t.Errorf("%q is %+v, by its digest %+v, %v", text, k, same, err)
			}
		}
		if k, err := rpc.ParseAPIKeyDigest(id, digest, rpc.ScopeAll); err == nil && (id == "" || strings.Contains(id, "_") || !strings.EqualFold(hex.EncodeToString(k.Digest[:]), digest)) {
			t.Errorf("%q and %q are %+v", id, digest, k)
		}
	})
}
