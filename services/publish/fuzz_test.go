package publish_test

import (
	"testing"

	"github.com/trunkline/trunkline/services/publish"
)

// FuzzPageToken says that a token is read as it was written, by its own list alone, and that anything else names the field.
func FuzzPageToken(f *testing.F) {
	f.Fuzz(func(t *testing.T, text, list, after, epoch string, offset uint64, size int32) {
		n, at, err := publish.Paging(size, text, list)
		if err == nil && (n < 1 || n > 1000) {
			t.Errorf("a page has %d items", n)
		}
		if err == nil && text != "" {
			if _, again, err := publish.Paging(size, publish.PageToken(at), list); err != nil || again != at || at.List != list {
				t.Errorf("%q is %+v, which is %+v, %v", text, at, again, err)
			}
		}
		token := publish.PageToken(publish.Place{List: "messages", After: after, Epoch: epoch, Offset: offset})
		_, one, err := publish.Paging(1, token, "messages")
		if err != nil && len(token) < 4096 {
			t.Errorf("its own token is refused: %v", err)
		}
		if err == nil && one.Offset != offset {
			t.Errorf("%d is read as %d", offset, one.Offset)
		}
		if list != "messages" {
			if _, _, err := publish.Paging(1, token, list); err == nil {
				t.Errorf("the token of another list is one of %q", list)
			}
		}
	})
}
