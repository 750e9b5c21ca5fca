package revoked

import "github.com/trunkline/trunkline/internal/bus"

// Note remembers a revocation as one that was heard.
func (f *Follower) Note(r bus.Revocation) { f.memory.note(r) }
