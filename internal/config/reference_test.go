package config_test

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/app"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

const reference = "../../docs/configuration.md"

// TestReference compares the document with the struct tree; go test ./internal/config -run Reference -update writes it.
func TestReference(t *testing.T) {
	var want strings.Builder
	if err := app.Default().WriteReference(&want); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	const marker = "<!-- Made from internal/config; a test compares. -->\n"
	intro, _, ok := strings.Cut(string(content), marker)
	if !ok {
		t.Fatalf("%s has no line %q", reference, marker)
	}
	page := intro + marker + want.String()
	if *update {
		if err := os.WriteFile(reference, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if page != string(content) {
		t.Errorf("%s is not what the settings are; run: go test ./internal/config -run Reference -update", reference)
	}
}

func TestVariables_AreDistinctAndNotThoseOfKubernetes(t *testing.T) {
	kubernetes := regexp.MustCompile(`^TRUNKLINE_(SERVICE_.*|PORT.*|.*_SERVICE_HOST|.*_SERVICE_PORT.*|.*_PORT|.*_PORT_.*)$`)
	seen := map[string]string{}
	for _, v := range app.Default().Variables() {
		if other, ok := seen[v.Name]; ok {
			t.Errorf("%s is that of %s and %s", v.Name, other, v.Key)
		}
		seen[v.Name] = v.Key
		if kubernetes.MatchString(v.Name) {
			t.Errorf("%s may be set by Kubernetes", v.Name)
		}
		if v.Doc == "" {
			t.Errorf("%s has no doc", v.Key)
		}
	}
	for name := range seen {
		// A setting may be the file of another one, whose variable then means the same.
		if file, ok := seen[name+"_FILE"]; ok && file != seen[name]+"_file" {
			t.Errorf("%s_FILE means two things", name)
		}
	}
}
