package server

import "strings"

// Shebang takes the first line off a script. The line says when a server may refuse the script. With "#!lua" it may do so when it
// is full, with "#!lua flags=allow-oom" not then, and with "#!lua flags=no-writes" never. Redis reads it only where the text
// begins.
func Shebang(text string) (line, body string) {
	if !strings.HasPrefix(text, "#!") {
		return "", text
	}
	line, body, _ = strings.Cut(text, "\n")
	return line + "\n", body
}
