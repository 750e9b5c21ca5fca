package rpc //nolint:testpackage // the context of a call is private

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A call's context is a context. It and all that are made of it end at its deadline, when the caller goes, and when the call has ended.
func TestCallContext(t *testing.T) {
	caller := &Caller{Name: "somebody"}
	begin := func(t *testing.T, asked bool) (call *callContext, leave context.CancelFunc) {
		t.Helper()
		below, leave := context.WithTimeout(t.Context(), time.Second)
		if !asked {
			leave()
			below, leave = context.WithCancel(t.Context())
		}
		return &callContext{Context: below, deadline: time.Now().Add(time.Second), caller: caller}, leave
	}
	ends := map[string]struct {
		asked bool
		end   func(call *callContext, leave context.CancelFunc)
		want  error
	}{
		"deadline":             {end: func(*callContext, context.CancelFunc) {}, want: context.DeadlineExceeded},
		"deadline of a caller": {asked: true, end: func(*callContext, context.CancelFunc) {}, want: context.DeadlineExceeded},
		"caller gone":          {end: func(_ *callContext, leave context.CancelFunc) { leave() }, want: context.Canceled},
		"call ended":           {end: func(call *callContext, _ context.CancelFunc) { call.end() }, want: context.Canceled},
	}
	for name, c := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				call, leave := begin(t, c.asked)
				defer leave()
				child, cancel := context.WithCancel(call)
				defer cancel()
				if call.Err() != nil || CallerFrom(child) != caller {
					t.Fatalf("at first: %v, caller %+v", call.Err(), CallerFrom(child))
				}
				c.end(call, leave)
				<-child.Done()
				if !errors.Is(call.Err(), c.want) || !errors.Is(child.Err(), c.want) {
					t.Errorf("ended with %v, and what was made of it with %v; want %v", call.Err(), child.Err(), c.want)
				}
			})
		})
	}
	t.Run("nobody waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			call, leave := begin(t, false)
			defer leave()
			<-time.After(time.Second)
			if !errors.Is(call.Err(), context.DeadlineExceeded) || call.inner != nil {
				t.Errorf("after the deadline: %v, with a timer: %v", call.Err(), call.inner != nil)
			}
		})
	})
}
