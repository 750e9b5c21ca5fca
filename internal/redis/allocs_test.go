package redis //nolint:testpackage // the envelope is private to the store

import (
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// usual is a durable message of 128 bytes from a user's client, and what Redis pushes of it.
func usual() (m bus.Message, push []byte) {
	m = bus.Message{
		ID: "018f4e6e-7b7a-7c3e-9d2a-000000000000", To: bus.Broadcast, Data: []byte(strings.Repeat("x", 128)), ContentType: bus.Text,
		From: bus.Sender{Client: "018f4e6e-7b7a-7c3e-9d2a-000000000001", User: "018f4e6e-7b7a-7c3e-9d2a-000000000002"}, Published: time.UnixMilli(1_700_000_000_123),
	}
	return m, append([]byte("abcdefghijklm 12345 1700000000123\n"), encode(&m)...)
}

// An envelope is one piece of memory. A pushed message is the message, its bytes, and each of its texts.
func TestEnvelope_allocations(t *testing.T) {
	m, push := usual()
	if n := testing.AllocsPerRun(100, func() { encode(&m) }); n > 1 {
		t.Errorf("an envelope costs %g allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _, _ = decodePush(bus.Broadcast, push) }); n > 5 {
		t.Errorf("reading a pushed message costs %g allocations", n)
	}
}

func BenchmarkEnvelope(b *testing.B) {
	m, push := usual()
	envelope := encode(&m)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encode(&m)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var got bus.Message
			if err := decode(envelope, 0, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode a push", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := decodePush(bus.Broadcast, push); err != nil {
				b.Fatal(err)
			}
		}
	})
}
