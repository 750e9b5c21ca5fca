package testkit_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trunkline/trunkline/internal/testkit"
)

// recorder is a testing.TB that keeps why a test was ended.
type recorder struct {
	testing.TB
	why string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatal(args ...any) { r.end(fmt.Sprint(args...)) }

func (r *recorder) Fatalf(format string, args ...any) { r.end(fmt.Sprintf(format, args...)) }

func (r *recorder) end(why string) {
	r.why = why
	runtime.Goexit()
}

// fails runs test and returns why it was ended, or nothing.
func fails(test func(tb testing.TB)) string {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(r)
	}()
	<-done
	return r.why
}

func TestCheck(t *testing.T) {
	if why := fails(func(tb testing.TB) { testkit.Check(tb, nil) }); why != "" {
		t.Errorf("no error ended the test: %s", why)
	}
	if why := fails(func(tb testing.TB) { testkit.Check(tb, errors.New("boom")) }); why != "boom" {
		t.Errorf("an error ended the test with %q", why)
	}
}

func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		after := func(d time.Duration) func() bool { return func() bool { return time.Since(start) >= d } }
		if took := testkit.Within(t, "it came", time.Minute, after(time.Second)); took != time.Second {
			t.Errorf("waited %s for a second", took)
		}
		why := fails(func(tb testing.TB) { testkit.Within(tb, "it came", time.Second, after(time.Hour)) })
		if why != "not true within 1s: it came" {
			t.Errorf("ended with %q", why)
		}
		start = time.Now()
		if why := fails(func(tb testing.TB) { testkit.Eventually(tb, "never", after(time.Hour)) }); why == "" || time.Since(start) < 20*time.Second {
			t.Errorf("gave up after %s with %q", time.Since(start), why)
		}
	})
}
