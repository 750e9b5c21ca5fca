// Command openapi turns the OpenAPI 2 document that protoc-gen-openapiv2 wrote into the OpenAPI 3 document that Trunkline serves.
// It says in it what the generator cannot know: the JSON form of payloads, the error body, streams.
//
// Usage: openapi IN OUT. The same input gives the same bytes.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: openapi IN OUT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	raw, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	var old openapi2.T
	if err := json.Unmarshal(raw, &old); err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	doc, err := openapi2conv.ToV3(&old)
	if err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	if describePayloads(doc) == 0 {
		return fmt.Errorf("%s: no message has both data and contentType; did the generator change its names?", in)
	}
	describeErrors(doc)
	describeSecurity(doc)
	for path, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			describeOperation(path, item, op)
		}
	}
	return write(doc, out)
}

func write(doc *openapi3.T, out string) error {
	raw, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	// What is written is what is validated: references resolved from the bytes.
	again, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		return fmt.Errorf("the result cannot be read back: %w", err)
	}
	if err := again.Validate(context.Background()); err != nil {
		return fmt.Errorf("the result is not valid: %w", err)
	}
	var text bytes.Buffer
	if err := json.Indent(&text, raw, "", "  "); err != nil {
		return err
	}
	text.WriteByte('\n')
	return os.WriteFile(out, text.Bytes(), 0o644)
}
