package origin

import "strings"

// List is the origins that are allowed. The zero value allows none. It is immutable.
type List struct {
	every bool
	exact map[Origin]bool
}

// NewList reads the origins of a setting. Its error names the one that is wrong.
func NewList(origins []string) (List, error) {
	l := List{exact: make(map[Origin]bool, len(origins))}
	for _, text := range origins {
		if text == Every {
			l.every = true
			continue
		}
		o, err := Parse(text)
		if err != nil {
			return List{}, err
		}
		l.exact[o] = true
	}
	return l, nil
}

// Every says whether all origins are allowed, those too that cannot be read.
func (l List) Every() bool { return l.every }

// Empty says whether none is allowed.
func (l List) Empty() bool { return !l.every && len(l.exact) == 0 }

// Allows says whether the list has the origin, or a pattern of it.
func (l List) Allows(o Origin) bool {
	if l.every || l.exact[o] {
		return true
	}
	label, domain, ok := strings.Cut(o.host, ".")
	if !ok || label == "" || isAddress(o.host) {
		return false
	}
	return l.exact[Origin{scheme: o.scheme, host: domain, port: o.port, wild: true}]
}
