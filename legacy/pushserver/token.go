package pushserver

import "crypto/rand"

// alphabet is what the older system makes tokens of.
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.+-*#@:>"

// tokenLength is how many characters a token has.
const tokenLength = 128

// newToken returns 784 random bits. Bytes that would favour the first characters are thrown away.
func newToken() string {
	const fair = 256 - 256%len(alphabet)
	token := make([]byte, 0, tokenLength)
	var random [tokenLength]byte
	for {
		_, _ = rand.Read(random[:]) // never fails (crypto/rand)
		for _, b := range random {
			if int(b) >= fair {
				continue
			}
			if token = append(token, alphabet[int(b)%len(alphabet)]); len(token) == tokenLength {
				return string(token)
			}
		}
	}
}
