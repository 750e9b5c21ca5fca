package badinput_test

import (
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// commandTime is about how long the program takes for what it refuses at once.
const commandTime = time.Second

// build makes the program once.
var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "trunkline")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/trunkline").CombinedOutput()
	return path + "\n" + string(out), err
})

// program returns the path of the program.
func program(t *testing.T) string {
	t.Helper()
	said, err := build()
	if err != nil {
		t.Fatal(said, err)
	}
	return said[:len(said)-1]
}
