package main

import (
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

const payload = "Any JSON value when contentType is CONTENT_TYPE_JSON (the default), a string when TEXT, base64 when BINARY"

// describePayloads opens the type of every payload: REST carries the value
// itself, so a byte string would be wrong for two content types of three. It
// returns how many it found.
func describePayloads(doc *openapi3.T) (found int) {
	for _, ref := range doc.Components.Schemas {
		if ref.Value == nil {
			continue
		}
		data := ref.Value.Properties["data"]
		if ref.Value.Properties["contentType"] == nil || data == nil || data.Value == nil || data.Value.Format != "byte" {
			continue
		}
		ref.Value.Properties["data"] = &openapi3.SchemaRef{Value: &openapi3.Schema{Description: payload}}
		found++
	}
	return found
}

// describeErrors adds the body of every refusal and what each stream line is.
func describeErrors(doc *openapi3.T) {
	detail := openapi3.NewObjectSchema().WithProperty("@type", openapi3.NewStringSchema()).WithAnyAdditionalProperties()
	detail.Description = "A message of google.rpc named by @type: ErrorInfo always, BadRequest and RetryInfo where they help."
	code := openapi3.NewInt32Schema()
	code.Description = "The HTTP status."
	status := openapi3.NewStringSchema()
	status.Description = "The name of the gRPC code, such as PERMISSION_DENIED."
	message := openapi3.NewStringSchema()
	message.Description = "What was wrong, the limit, and what to do."
	failure := openapi3.NewObjectSchema().
		WithProperty("code", code).
		WithProperty("status", status).
		WithProperty("message", message).
		WithProperty("details", openapi3.NewArraySchema().WithItems(detail))
	failure.Description = "A google.rpc.Status with the HTTP status as its code."
	failure.Required = []string{"code", "status", "message"}
	doc.Components.Schemas["Failure"] = openapi3.NewSchemaRef("", failure)

	body := openapi3.NewObjectSchema()
	body.Properties = openapi3.Schemas{"error": openapi3.NewSchemaRef("#/components/schemas/Failure", nil)}
	body.Required = []string{"error"}
	body.Description = "The body of every refusal."
	doc.Components.Schemas["FailureBody"] = openapi3.NewSchemaRef("", body)

	doc.Components.Responses = openapi3.ResponseBodies{"Failure": &openapi3.ResponseRef{
		Value: openapi3.NewResponse().WithDescription("The call was refused or failed.").
			WithJSONSchemaRef(openapi3.NewSchemaRef("#/components/schemas/FailureBody", nil)),
	}}
}

// describeSecurity says bearer the way OpenAPI 3 can.
func describeSecurity(doc *openapi3.T) {
	scheme := openapi3.NewSecurityScheme().WithType("http").WithScheme("bearer")
	scheme.Description = "An API key or a token."
	doc.Components.SecuritySchemes = openapi3.SecuritySchemes{"bearer": &openapi3.SecuritySchemeRef{Value: scheme}}
}

func describeOperation(path string, item *openapi3.PathItem, op *openapi3.Operation) {
	// An address without an id, such as broadcast, stands literally in the path.
	kept := op.Parameters[:0]
	for _, p := range op.Parameters {
		if p.Value == nil || p.Value.In != openapi3.ParameterInPath || strings.Contains(path, "{"+p.Value.Name+"}") {
			kept = append(kept, p)
		}
	}
	op.Parameters = kept

	if op.Description == "" {
		op.Description = strings.ReplaceAll(op.Summary, "\n", " ")
		if i := strings.Index(op.Description+" ", ". "); i >= 0 {
			op.Summary = op.Description[:i]
		}
	}
	if op.RequestBody != nil && op.RequestBody.Value != nil {
		op.RequestBody.Value.Extensions = nil // how the generator named it
	}
	op.Responses.Set("default", &openapi3.ResponseRef{Ref: "#/components/responses/Failure"})
	if ok := op.Responses.Value("200"); ok != nil && ok.Value != nil {
		describeStream(ok.Value)
	}
	for _, tag := range op.Tags {
		if tag == "RelayService" {
			item.Servers = openapi3.Servers{{
				URL:         "http://{host}:5000",
				Description: "The listener of the older relay system (serve --legacy relay).",
				Variables:   map[string]*openapi3.ServerVariable{"host": {Default: "localhost"}},
			}}
		}
	}
}

func describeStream(ok *openapi3.Response) {
	mark := "(streaming responses)"
	if ok.Description == nil || !strings.HasSuffix(*ok.Description, mark) {
		return
	}
	line := ok.Content.Get("application/json").Schema
	line.Value.Properties["error"] = openapi3.NewSchemaRef("#/components/schemas/Failure", nil)
	line.Value.Description = "One line: a result, or the error that ended the stream."
	events := openapi3.NewStringSchema()
	events.Description = "Server-sent events; the data of each is JSON."
	said := "A stream that stays open."
	ok.Description = &said
	ok.Content = openapi3.Content{
		"application/x-ndjson": {Schema: line},
		"text/event-stream":    {Schema: openapi3.NewSchemaRef("", events)},
	}
}
