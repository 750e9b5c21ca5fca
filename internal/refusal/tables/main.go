// Command tables writes what is made from the table of refusals: the tables of docs/errors.md and docs/protocol.md, and the
// constants of the browser client. It runs at the top of the repository; make gen calls it.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/trunkline/trunkline/internal/refusal"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "tables:", err)
		os.Exit(1)
	}
}

func run() error {
	for _, part := range []struct {
		file, begin, end, text string
	}{
		{"docs/errors.md", "<!-- refusals:begin -->\n", "<!-- refusals:end -->", reasons()},
		{"docs/protocol.md", "<!-- refusals:begin -->\n", "<!-- refusals:end -->", closeCodes()},
		{"web/files/sdk.js", "// refusals:begin\n", "// refusals:end", afterClose()},
	} {
		if err := replace(part.file, part.begin, part.end, part.text); err != nil {
			return err
		}
	}
	return nil
}

// replace writes text between two markers of a file.
func replace(file, begin, end, text string) error {
	old, err := os.ReadFile(file) //nolint:gosec // one of the three above
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(old), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no part between %q and %q", file, strings.TrimSpace(begin), end)
	}
	return os.WriteFile(file, []byte(head+begin+text+end+tail), 0o644) //nolint:gosec // a document
}

// reasons is the table of every reason.
func reasons() string {
	var b strings.Builder
	b.WriteString("| reason | gRPC | HTTP | close | retry | what to do |\n|---|---|---:|---:|---|---|\n")
	for _, r := range refusal.All() {
		code := "–"
		if r.Close != 0 {
			code = fmt.Sprint(r.Close)
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %s | %s | %s |\n", r.Reason, r.Code, r.HTTP, code, r.When, r.Fix)
	}
	return b.String()
}

// byClose groups the reasons by close code.
func byClose() (codes []int, reasons map[int][]refusal.Row) {
	reasons = map[int][]refusal.Row{}
	for _, r := range refusal.All() {
		if r.Close == 0 {
			continue
		}
		if reasons[r.Close] == nil {
			codes = append(codes, r.Close)
		}
		reasons[r.Close] = append(reasons[r.Close], r)
	}
	slices.Sort(codes)
	return codes, reasons
}

// closeCodes is the table of close codes.
func closeCodes() string {
	words := map[refusal.Retry]string{
		refusal.Stop: "do not come back unchanged", refusal.Renew: "come back with a new token", refusal.Again: "come back",
	}
	var b strings.Builder
	b.WriteString("| code | reason | what to do |\n|---|---|---|\n")
	codes, rows := byClose()
	for _, code := range codes {
		names := make([]string, len(rows[code]))
		for i, r := range rows[code] {
			names[i] = "`" + r.Reason + "`"
		}
		fmt.Fprintf(&b, "| %d | %s | %s |\n", code, strings.Join(names, ", "), words[rows[code][0].Retry])
	}
	return b.String()
}

// afterClose is the constants of the browser client: what it does after a close code, and which codes refuse the token.
func afterClose() string {
	codes, rows := byClose()
	var parts, tokens []string
	for _, code := range codes {
		if rows[code][0].Code == refusal.Unauthenticated {
			tokens = append(tokens, fmt.Sprint(code))
		}
		if retry := rows[code][0].Retry; retry != refusal.Again { // which is what a client does after any other code
			parts = append(parts, fmt.Sprintf("%d: %q", code, retry.String()))
		}
	}
	return "const AFTER_CLOSE = { " + strings.Join(parts, ", ") + " };\nconst RENEWABLE = [" + strings.Join(tokens, ", ") + "];\n"
}
