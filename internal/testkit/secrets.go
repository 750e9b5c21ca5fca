package testkit

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// pieceSize is how many bytes of a secret in a row are a leak.
const pieceSize = 16

// Secrets are what nobody may be told. It finds them in a text, whole or any 16 bytes of them in a row. It finds them as they are, and in
// base64, in hexadecimal, percent-encoded, or escaped as in JSON. It may be used concurrently.
type Secrets struct {
	mu     sync.RWMutex
	pieces map[[pieceSize]byte]string // what each is of
	short  map[string]string          // secrets that are shorter than a piece
	// begins has a bit for what pieces begin with, so that most places of a text need no look into the map.
	begins [1 << 12]uint64
}

// Add keeps a secret. One of fewer than 8 bytes is left out, since it would be found by chance. Of a PEM block, what is inside counts.
func (s *Secrets) Add(name, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pieces == nil {
		s.pieces, s.short = map[[pieceSize]byte]string{}, map[string]string{}
	}
	if block, _ := pem.Decode([]byte(secret)); block != nil {
		s.add(name, string(block.Bytes))
		s.add(name, base64.StdEncoding.EncodeToString(block.Bytes))
		return
	}
	s.add(name, secret)
}

func (s *Secrets) add(name, secret string) {
	if n := len(secret); n < pieceSize {
		if n >= pieceSize/2 {
			s.short[secret] = name
		}
		return
	}
	for i := range len(secret) - pieceSize + 1 {
		piece := [pieceSize]byte([]byte(secret[i : i+pieceSize]))
		if telling(piece) {
			s.pieces[piece] = name
			at := begin(piece[:])
			s.begins[at>>6] |= 1 << (at & 63)
		}
	}
}

// telling says whether a piece has enough different bytes. A row of one letter is in many texts.
func telling(piece [pieceSize]byte) bool {
	different := 0
	var seen [256]bool
	for _, b := range piece {
		if !seen[b] {
			seen[b] = true
			different++
		}
	}
	return different > pieceSize/3
}

// begin is the bit of the first 8 bytes. The number spreads them (Knuth, The Art of Computer Programming, 6.4).
func begin(piece []byte) uint64 {
	return binary.LittleEndian.Uint64(piece) * 0x9E3779B97F4A7C15 >> 46
}

// Find returns the name of a secret that the text has, and in which form; empty for none.
func (s *Secrets) Find(text string) (name, form string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if name := s.find(text); name != "" {
		return name, "as it is"
	}
	plain := percent.ReplaceAllStringFunc(text, unhex)
	plain = escape.ReplaceAllStringFunc(plain, unescape)
	if plain != text {
		if name := s.find(plain); name != "" {
			return name, "escaped"
		}
	}
	for _, run := range encoded.FindAllString(plain, -1) {
		if name := s.find(decode16(run)); name != "" {
			return name, "in hexadecimal"
		}
		for phase := range 4 { // a secret may begin at any of the four
			if name := s.find(decode64(run[phase:])); name != "" {
				return name, "in base64"
			}
		}
	}
	return "", ""
}

func (s *Secrets) find(text string) string {
	b := []byte(text)
	for i := 0; i+pieceSize <= len(b); i++ {
		at := begin(b[i:])
		if s.begins[at>>6]&(1<<(at&63)) == 0 {
			continue
		}
		if name := s.pieces[[pieceSize]byte(b[i:i+pieceSize])]; name != "" {
			return name
		}
	}
	for secret, name := range s.short {
		if strings.Contains(text, secret) {
			return name
		}
	}
	return ""
}

var (
	percent = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	escape  = regexp.MustCompile(`\\(?:u00[0-9A-Fa-f]{2}|x[0-9A-Fa-f]{2}|[nrt"/\\])`)
	encoded = regexp.MustCompile(`[0-9A-Za-z+/_-]{11,}`)
)

// unhex reads an escape that ends with two digits.
func unhex(text string) string {
	n, err := strconv.ParseUint(text[len(text)-2:], 16, 8)
	if err != nil {
		return text
	}
	return string([]byte{byte(n)})
}

func unescape(text string) string {
	switch text[1] {
	case 'u', 'x':
		return unhex(text)
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	case 't':
		return "\t"
	}
	return text[1:]
}

// decode64 decodes a text of either alphabet. One character alone at the end is no byte.
func decode64(text string) string {
	if len(text)%4 == 1 {
		text = text[:len(text)-1]
	}
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(b)
}

// decode16 decodes a text at both of its phases.
func decode16(text string) string {
	even, errEven := hex.DecodeString(text[:len(text)/2*2])
	odd, errOdd := hex.DecodeString(text[1 : 1+(len(text)-1)/2*2])
	if errEven != nil && errOdd != nil {
		return ""
	}
	return string(even) + "\x00" + string(odd)
}
