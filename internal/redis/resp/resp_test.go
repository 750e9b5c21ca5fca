package resp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/redis/resp"
)

// source is a connection that has only these bytes to read, as many at a time as step says.
type source struct {
	net.Conn
	in   io.Reader
	step int
}

func (s *source) Read(b []byte) (int, error) {
	if s.step > 0 && len(b) > s.step {
		b = b[:s.step]
	}
	return s.in.Read(b)
}

func (s *source) SetReadDeadline(time.Time) error { return nil }

func (s *source) Close() error { return nil }

// all reads every value of a text, until the first error.
func all(text []byte, step int) ([]resp.Value, error) {
	c := resp.New(&source{in: bytes.NewReader(text), step: step}, time.Second)
	var vs []resp.Value
	for {
		v, err := c.Read()
		if err != nil {
			return vs, err
		}
		vs = append(vs, v)
	}
}

var wellFormed = []string{
	"+OK\r\n", "-ERR no\r\n", ":0\r\n", ":-12\r\n", "$0\r\n\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "_\r\n", "$5\r\na\r\nb\r\r\n", "%1\r\n+a\r\n:1\r\n", "=7\r\ntxt:abc\r\n",
	">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\n*3\r\n\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
	"$" + strconv.Itoa(3<<20) + "\r\n" + strings.Repeat("x", 3<<20) + "\r\n",
}

var malformed = []string{
	"x\r\n", "\r\n", "+OK\n", "+a\rb\r\n", ":\r\n", ":1x\r\n", ":01\r\n", ":-0\r\n", ":+1\r\n", ":99999999999999999999\r\n", "$-2\r\n", "$1\r\nab\r\n", "$3\r\nab\r\n\r\n", "$ 1\r\na\r\n",
	"$536870913\r\n", "*1025\r\n", "*-2\r\n", ">0\r\n", ">-1\r\n", "*1\r\n>1\r\n+a\r\n", "%-1\r\n", "=-1\r\n", "_x\r\n", strings.Repeat("*1\r\n", 9) + ":1\r\n",
	"+" + strings.Repeat("a", 17<<10) + "\r\n", "#t\r\n", "|1\r\n",
}

// Every value is read as it was written, in whatever pieces it comes, and nothing else is.
func TestRead_onlyWhatTheProtocolAllows(t *testing.T) {
	for _, text := range wellFormed {
		for _, step := range []int{0, 1, 7} {
			vs, err := all([]byte(text), step)
			if !errors.Is(err, io.EOF) || len(vs) != 1 || string(redistest.Encode(nil, vs[0])) != text {
				t.Errorf("%.60q in steps of %d: %v, %v", text, step, len(vs), err)
			}
		}
	}
	for _, text := range malformed {
		if vs, err := all([]byte(text+"+OK\r\n"), 0); !errors.Is(err, resp.ErrProtocol) || len(vs) > 0 {
			t.Errorf("%.60q: %+v, %v", text, vs, err)
		}
	}
}

// What is cut off is an error, and it stays one.
func TestRead_neverGoesOnAfterAnError(t *testing.T) {
	c := resp.New(&source{in: strings.NewReader("$1\r\nab\r\n+OK\r\n+OK\r\n")}, time.Second)
	for range 3 {
		if v, err := c.Read(); !errors.Is(err, resp.ErrProtocol) {
			t.Errorf("%+v, %v", v, err)
		}
	}
	for _, text := range wellFormed {
		if len(text) > 100 {
			continue
		}
		for i := 1; i < len(text); i++ {
			if vs, err := all([]byte(text[:i]), 0); len(vs) > 0 || err == nil {
				t.Errorf("%q: %+v, %v", text[:i], vs, err)
			}
		}
	}
}

// Between values a connection may be quiet for hours; within one it may not.
func TestRead_waitsBetweenValuesOnly(t *testing.T) {
	const value = "$5\r\nhello\r\n"
	for cut := 1; cut < len(value); cut++ {
		synctest.Test(t, func(t *testing.T) {
			server, client := net.Pipe()
			c := resp.New(client, 2*time.Second)
			var done sync.WaitGroup
			done.Go(func() {
				for _, inside := range []time.Duration{1900 * time.Millisecond, 2100 * time.Millisecond} {
					<-time.After(time.Hour)
					_, _ = server.Write([]byte(value[:cut]))
					<-time.After(inside)
					_, _ = server.Write([]byte(value[cut:]))
				}
			})
			if v, err := c.Read(); err != nil || string(v.Text) != "hello" {
				t.Errorf("cut at %d: %q, %v", cut, v.Text, err)
			}
			for range 2 {
				if _, err := c.Read(); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("cut at %d: it went on after a pause inside of a value: %v", cut, err)
				}
			}
			done.Wait()
		})
	}
}

func TestCommand_isWrittenWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		c := resp.New(client, time.Second)
		got := make(chan string, 1)
		go func() {
			b, _ := io.ReadAll(server)
			got <- string(b)
		}()
		large := strings.Repeat("x", 10_000)
		c.Command("SUBSCRIBE", "a\r\nb", "")
		c.Command("SUBSCRIBE", large)
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if want := "*3\r\n$9\r\nSUBSCRIBE\r\n$4\r\na\r\nb\r\n$0\r\n\r\n*2\r\n$9\r\nSUBSCRIBE\r\n$10000\r\n" + large + "\r\n"; <-got != want {
			t.Error("the commands differ")
		}
	})
}

// A server that takes nothing ends the connection.
func TestFlush_hasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client := net.Pipe()
		c := resp.New(client, time.Second)
		c.Command("SUBSCRIBE", strings.Repeat("x", 10_000))
		if err := c.Flush(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
		if _, err := client.Write(nil); err == nil {
			t.Error("the connection is open")
		}
	})
}

// Whatever comes, a value that is read is what its bytes say and nothing more, in whatever pieces they come.
func FuzzRead(f *testing.F) {
	for _, text := range append(append([]string(nil), wellFormed...), malformed...) {
		if len(text) < 1000 {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		vs, err := all(text, 0)
		if err == nil {
			t.Fatal("there is no end")
		}
		var again []byte
		for _, v := range vs {
			again = redistest.Encode(again, v)
		}
		if !bytes.HasPrefix(text, again) {
			t.Fatalf("%q is read as %q", text, again)
		}
		slow, err2 := all(text, 1)
		if fmt.Sprint(slow) != fmt.Sprint(vs) || errors.Is(err, resp.ErrProtocol) != errors.Is(err2, resp.ErrProtocol) {
			t.Fatalf("%q in pieces: %v, %v instead of %v, %v", text, slow, err2, vs, err)
		}
	})
}
