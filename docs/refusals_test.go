package docs_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/refusal"
)

// besides are close codes and reasons that stand side by side, each code first or behind.
var besides = regexp.MustCompile("\\b(4[0-9]{3}|1013|1003)[ |]{1,3}`?([A-Z]+_[A-Z_]+)|`([A-Z]+_[A-Z_]+)`\\W{1,3}(?:with )?(4[0-9]{3})\\b")

// rowOfClose is a row of the table of close codes.
var rowOfClose = regexp.MustCompile(`(?m)^\| (\d{4}) \| ([^|]*) \| ([^|]*) \|$`)

// A close code that a page names beside a reason is that reason's, in the tables as in the text. Both tables have each of them.
func TestDocuments_closeCodesAreThoseOfTheTable(t *testing.T) {
	found := 0
	for _, page := range pages(t) {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range besides.FindAllStringSubmatch(string(b), -1) {
			found++
			if code, reason := m[1]+m[4], m[2]+m[3]; refusal.Known(reason) && strconv.Itoa(refusal.Of(reason).Close) != code {
				t.Errorf("%s: %q, and %s closes with %d", page, m[0], reason, refusal.Of(reason).Close)
			}
		}
	}
	if found < 15 {
		t.Errorf("%d codes were found", found)
	}
	closes, errors := section(t, "protocol.md"), section(t, "errors.md")
	rows := map[string]string{}
	for _, m := range rowOfClose.FindAllStringSubmatch(closes, -1) {
		for reason := range strings.SplitSeq(m[2], ", ") {
			rows[strings.Trim(reason, "`")] = m[1] + " " + m[3]
		}
	}
	does := map[refusal.Retry]string{refusal.Stop: "do not come back unchanged", refusal.Renew: "come back with a new token", refusal.Again: "come back"}
	for _, r := range refusal.All() {
		want, cell := "", "–"
		if r.Close != 0 {
			want, cell = strconv.Itoa(r.Close)+" "+does[refusal.OfClose(r.Close)], strconv.Itoa(r.Close)
		}
		if rows[r.Reason] != want {
			t.Errorf("protocol.md: %s is %q, want %q", r.Reason, rows[r.Reason], want)
		}
		if row := "\n| " + r.Reason + " | " + r.Code.String() + " | " + strconv.Itoa(r.HTTP) + " | " + cell + " | "; !strings.Contains(errors, row) {
			t.Errorf("errors.md has no row that begins with %q", row[1:])
		}
	}
}

// section is the table of refusals of a page.
func section(tb testing.TB, page string) string {
	tb.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "<!-- refusals:begin -->")
	table, _, _ := strings.Cut(rest, "<!-- refusals:end -->")
	return table
}
