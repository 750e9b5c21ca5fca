package quota

// Sizes returns how many accounts and addresses are remembered.
func (q *Quotas) Sizes() (accounts, addresses int) {
	for i := range q.shards {
		accounts += q.shards[i].accounts.Len() + q.shards[i].strangers.Len()
		p := &q.known.parts[i]
		addresses += len(p.younger) + len(p.older)
	}
	return accounts, addresses
}
