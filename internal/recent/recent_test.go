package recent_test

import (
	"sync"
	"testing"

	"github.com/trunkline/trunkline/internal/recent"
)

func TestCache_isBounded(t *testing.T) {
	c := recent.New[int, string](100, 1000)
	for i := range 50 {
		c.Add(i, "large", 300)
	}
	if n, bytes := c.Size(); n != 3 || bytes != 900 {
		t.Errorf("%d values, %d bytes", n, bytes)
	}
	if _, ok := c.Get(0); ok {
		t.Error("the first one is still there")
	}
	if v, ok := c.Get(49); !ok || v != "large" {
		t.Error("the last one is not there")
	}
	for i := range 500 {
		c.Add(i, "small", 1)
	}
	if n, bytes := c.Size(); n != 100 || bytes != 100 {
		t.Errorf("%d values, %d bytes", n, bytes)
	}
	c.Add(499, "again", 7)
	c.Add(1000, "too large", 1001)
	if n, bytes := c.Size(); n != 100 || bytes != 106 {
		t.Errorf("after a second value: %d values, %d bytes", n, bytes)
	}
	c.Purge()
	if n, bytes := c.Size(); n != 0 || bytes != 0 {
		t.Errorf("after all was forgotten: %d values, %d bytes", n, bytes)
	}
}

func TestCache_concurrently(t *testing.T) {
	c := recent.New[int, int](50, 500)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				c.Add(i%70, i, i%20)
				c.Get(i % 70)
				if i%400 == 0 {
					c.Purge()
				}
			}
		})
	}
	wg.Wait()
	if n, bytes := c.Size(); n > 50 || bytes > 500 || bytes < 0 {
		t.Errorf("%d values, %d bytes", n, bytes)
	}
}
