package hooks

import "time"

// Forget forgets what has ended by then, as Run does, and returns how many answers are kept.
func (a *Authorizer) Forget(now time.Time) int {
	a.forget(now)
	return a.cache.Len()
}
