package server

import "strings"

// Slots is how many slots a Cluster has.
const Slots = 16384

// Slot is the slot of a name in a Cluster: the CRC16 of what stands in its braces.
func Slot(name string) uint16 {
	if _, rest, ok := strings.Cut(name, "{"); ok {
		// Empty braces are no tag: Redis hashes the whole name then.
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			name = tag
		}
	}
	var crc uint16
	for i := range len(name) {
		crc ^= uint16(name[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % Slots
}

// Tag returns the beginning of a name up to its closing brace: all names with the same one have the same slot.
func Tag(name string) string {
	if i := strings.IndexByte(name, '}'); i >= 0 {
		return name[:i+1]
	}
	return name
}
