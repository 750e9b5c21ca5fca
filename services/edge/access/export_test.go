package access

// Batches returns the bytes of each call in which tokens are asked about that all wait at once.
func Batches(tokens []string) (bytes []int) {
	v := &Validator{}
	for _, token := range tokens {
		v.waiting = append(v.waiting, &pendingToken{token: token})
	}
	for {
		batch := v.take()
		if len(batch) == 0 {
			return bytes
		}
		sum := 0
		for _, q := range batch {
			sum += len(q.token)
		}
		bytes = append(bytes, sum)
	}
}
