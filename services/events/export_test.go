package events

import "github.com/trunkline/trunkline/internal/hooks"

// CheckPublic is what a dial is checked by, for a table of addresses that no test can dial.
var CheckPublic = hooks.CheckPublic

// RetryAfter is how long an answer asks to wait.
var RetryAfter = retryAfter
