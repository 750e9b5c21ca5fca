package bus

// Author is who publishes. Its idempotency keys are nobody else's, and so are its quotas.
type Author struct {
	// Key names what a back end has shown, such as its API key; empty for a client.
	Key string
	// Sender is the client. With a Key it is who the back end says that the message is from.
	Sender Sender
}

// Publisher names whose idempotency keys the author uses. No two authors have the same name.
func (a Author) Publisher() string { return a.Key + "\n" + a.Sender.User + "\n" + a.Sender.Client }

// Account is who pays for what the store has to keep. It is a user with all of its clients, or a client that has no user. A back end
// has one account, whoever it speaks for.
type Account struct {
	Kind AccountKind
	Name string
}

// AccountKind says what an Account is.
type AccountKind uint8

// The kinds of accounts.
const (
	AccountKey    AccountKind = 1
	AccountUser   AccountKind = 2
	AccountClient AccountKind = 3
)

// String returns the word for the kind in refusals and metrics.
func (k AccountKind) String() string {
	switch k {
	case AccountKey:
		return "key"
	case AccountUser:
		return "user"
	}
	return "client"
}

// Account returns who pays for the author.
func (a Author) Account() Account {
	switch {
	case a.Key != "":
		return Account{AccountKey, a.Key}
	case a.Sender.User != "":
		return Account{AccountUser, a.Sender.User}
	}
	return Account{AccountClient, a.Sender.Client}
}

// Charge is what one call makes the store keep, or do.
type Charge struct {
	// Address is what the store has to know from then on; zero when nothing is kept of it. It counts when it is new.
	Address Address
	// Messages that are sent, and the Bytes of them and of states that are kept.
	Messages, Bytes int
	// IdempotencyKeys that are remembered.
	IdempotencyKeys int
	// Subscriptions that begin.
	Subscriptions int
	// Tokens, Revocations and Channels that are made. The labels of a channel count as further ones, by the KiB.
	Tokens, Revocations, Channels int
}

// Charging takes what a call costs from an account, or refuses the call with ErrQuotaExceeded. It may be called concurrently. A nil
// Charging refuses nothing.
type Charging func(Account, Charge) error

// Take takes a charge from the author's account.
func (c Charging) Take(author Author, charge Charge) error {
	if c == nil {
		return nil
	}
	return c(author.Account(), charge)
}

// charge is what a publication costs. What nobody keeps costs one message.
func (p *Publication) charge() Charge {
	c := Charge{Messages: 1}
	kept := p.Retention.Durable() || p.Ack != nil || p.Retain > 0
	if p.IdempotencyKey != "" {
		c.IdempotencyKeys = 1
	}
	if kept || p.IdempotencyKey != "" {
		c.Address = p.Message.To
	}
	if kept {
		c.Bytes = p.Message.size()
	}
	return c
}

// size is how many bytes a message has that its publisher chose.
func (m *Message) size() int {
	n := len(m.Data)
	for k, v := range m.Attributes {
		n += len(k) + len(v)
	}
	for _, r := range m.Recipients {
		n += len(r)
	}
	return n
}
