package server

import "strings"

// Shebang takes the first line off a script, which says what a server may refuse it for: "#!lua" when it is full,
// "#!lua flags=allow-oom" not then, and "#!lua flags=no-writes" never. Redis reads it only where the text begins.
func Shebang(text string) (line, body string) {
	if !strings.HasPrefix(text, "#!") {
		return "", text
	}
	line, body, _ = strings.Cut(text, "\n")
	return line + "\n", body
}
