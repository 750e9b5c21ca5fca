package judge_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/trunkline/trunkline/internal/judge"
)

// FuzzRead judges any text as a record: it is refused, or has the same verdict each time.
func FuzzRead(f *testing.F) {
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, record []byte) {
		if err := os.WriteFile(filepath.Join(dir, "record-0.jsonl"), record, 0o600); err != nil {
			t.Fatal(err)
		}
		first, err := judge.Read(dir)
		again, err2 := judge.Read(dir)
		if (err == nil) != (err2 == nil) || err == nil && !reflect.DeepEqual(first, again) {
			t.Errorf("%q is %+v, %v, and then %+v, %v", record, first, err, again, err2)
		}
	})
}
