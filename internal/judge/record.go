package judge

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Record writes events into files of JSON lines. An address is in one file alone, so a long record is judged file by file, in the
// memory that one takes. It may be used concurrently.
type Record struct {
	start time.Time

	mu    sync.Mutex
	files []*os.File
	lines []*bufio.Writer
	err   error
}

// Create makes a record of so many files in a folder.
func Create(dir string, files int) (*Record, error) {
	r := &Record{start: time.Now()}
	for i := range max(files, 1) {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("record-%02d.jsonl", i))) //nolint:gosec // the caller's own folder
		if err != nil {
			return nil, errors.Join(fmt.Errorf("create a record: %w", err), r.Close())
		}
		r.files = append(r.files, f)
		r.lines = append(r.lines, bufio.NewWriterSize(f, 64<<10))
	}
	return r, nil
}

// Now returns the time of the record.
func (r *Record) Now() int64 { return time.Since(r.start).Microseconds() }

// Add writes an event. At is set when it is 0. An event without an address goes into every file. Close returns what fails.
func (r *Record) Add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.At == 0 {
		e.At = max(r.Now(), 1)
	}
	b, err := json.Marshal(e)
	r.err = errors.Join(r.err, err)
	b = append(b, '\n')
	if e.Address != "" {
		h := fnv.New32a()
		_, _ = h.Write([]byte(e.Address))
		r.write(int(h.Sum32())%len(r.lines), b)
		return
	}
	for i := range r.lines {
		r.write(i, b)
	}
}

func (r *Record) write(file int, b []byte) {
	if r.err == nil {
		_, r.err = r.lines[file].Write(b)
	}
}

// Close ends the record.
func (r *Record) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := []error{r.err}
	for i, f := range r.files {
		errs = append(errs, r.lines[i].Flush(), f.Close())
	}
	return errors.Join(errs...)
}

// Read judges the record in a folder.
func Read(dir string) (Verdict, error) {
	names, err := filepath.Glob(filepath.Join(dir, "record-*.jsonl"))
	if err != nil || len(names) == 0 {
		return Verdict{}, fmt.Errorf("no record in %s: %w", dir, errors.Join(err, os.ErrNotExist))
	}
	var all Verdict
	for _, name := range names {
		v, err := readFile(name)
		if err != nil {
			return all, fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
		all.add(v)
	}
	return all, nil
}

func readFile(name string) (Verdict, error) {
	f, err := os.Open(name) //nolint:gosec // one that a pattern has found
	if err != nil {
		return Verdict{}, err
	}
	defer func() { _ = f.Close() }()
	j := New()
	d := json.NewDecoder(bufio.NewReaderSize(f, 256<<10))
	for {
		var e Event
		switch err := d.Decode(&e); {
		case errors.Is(err, io.EOF):
			return j.Verdict(), nil
		case err != nil:
			return Verdict{}, err
		}
		j.Add(e)
	}
}
