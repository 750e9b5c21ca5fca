package publish

import (
	"crypto/sha256"
	"fmt"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
)

// newID returns the id of a publication: a UUIDv7 of now. What is not time in it is random, or follows from the key. An author
// that repeats what the store has lost gets another id whose rest is the same. Subscribers that have had the first one know the
// second by it.
func newID(author bus.Author, p *bus.Publication) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make a message id: %w", err)
	}
	if p.IdempotencyKey == "" {
		return id.String(), nil
	}
	const timeBytes = 6
	sum := sha256.Sum256([]byte(author.Publisher() + "\n" + p.Message.To.String() + "\n" + p.IdempotencyKey + "\n" + p.Digest))
	version, variant := id[timeBytes]&0xf0, id[timeBytes+2]&0xc0
	copy(id[timeBytes:], sum[:])
	id[timeBytes] = version | id[timeBytes]&0x0f
	id[timeBytes+2] = variant | id[timeBytes+2]&0x3f
	return id.String(), nil
}
