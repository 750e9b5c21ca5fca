package rpc_test

import (
	"os"
	"strings"
	"testing"

	errorsv1 "github.com/trunkline/trunkline/gen/go/trunkline/errors/v1"
	"github.com/trunkline/trunkline/internal/rpc"
)

// Every reason of the catalogue has a line in docs/errors.md with the code that callers get.
func TestCatalogue_isDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.SplitSeq(string(b), "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			rows[strings.TrimSpace(cells[1])] = strings.TrimSpace(cells[2])
		}
	}
	for n, name := range errorsv1.ErrorReason_name {
		reason := strings.TrimPrefix(name, "ERROR_REASON_")
		if n == 0 {
			continue
		}
		code := strings.ToUpper(rpc.Code(reason).String())
		if code == "CANCELED" {
			code = "CANCELLED" // google.rpc.Code spells it so
		}
		if got := strings.ReplaceAll(rows[reason], "_", ""); got != code {
			t.Errorf("%s: docs/errors.md says %q, callers get %s", reason, rows[reason], code)
		}
	}
}
