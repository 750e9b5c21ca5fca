package auth

// Seal and Unseal keep the answer to a refresh for its repeat, under a key that only the token yields.
var (
	Seal   = seal
	Unseal = unseal
)
