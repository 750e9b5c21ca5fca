// Package openapi is the OpenAPI document of the REST gateway. Written by make gen.
package openapi

import _ "embed"

// JSON is the document.
//
//go:embed openapi.json
var JSON []byte
