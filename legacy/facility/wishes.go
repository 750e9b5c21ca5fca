package facility

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// audiences are the kinds of audience in the order in which they are served.
var audiences = []string{"broadcast", "group", "user", "session"}

// wishes is what the address of a socket asks for.
type wishes struct {
	topic              string // of the facility
	place              *bus.Place
	subscribe, publish map[string]bool
	echo, state        bool
}

// wishesOf reads the path behind prefix and the names in the query; their values do not matter. The standard query holds where the
// query names no audience.
func wishesOf(r *http.Request, prefix, standard string) wishes {
	facility := strings.TrimPrefix(r.URL.Path, prefix)
	w := wishes{
		topic: dialect.Name(facility), subscribe: make(map[string]bool), publish: make(map[string]bool),
	}
	w.read(r.URL.RawQuery)
	if len(w.subscribe) == 0 && len(w.publish) == 0 {
		w.read(standard)
	}
	w.place = &bus.Place{Dialect: protocol, Facility: facility, Wishes: w.list()}
	return w
}

// read adds what a query names, and returns what means nothing.
func (w *wishes) read(query string) (strange []string) {
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			continue
		}
		name = strings.ToLower(strings.TrimSpace(name))
		subscribe, ok := strings.CutPrefix(name, "subscribe-")
		publish, ok2 := strings.CutPrefix(name, "publish-")
		switch {
		case ok && slices.Contains(audiences, subscribe):
			w.subscribe[subscribe] = true
		case ok2 && slices.Contains(audiences, publish):
			w.publish[publish] = true
		case name == "echo":
			w.echo = true
		case name == "state":
			w.state = true
		default:
			strange = append(strange, name)
		}
	}
	return strange
}

// checkDefault refuses a standard query that would not be understood.
func checkDefault(query string) error {
	w := wishes{subscribe: make(map[string]bool), publish: make(map[string]bool)}
	if strange := w.read(query); query != "" && len(strange) > 0 {
		return fmt.Errorf("default: %q is not a query such as subscribe-broadcast&echo", query)
	}
	return nil
}

// list returns the audiences that are asked for as the query names them, in the order in which they are served.
func (w wishes) list() []string {
	var all []string
	for _, kind := range audiences {
		if w.subscribe[kind] {
			all = append(all, "subscribe-"+kind)
		}
	}
	for _, kind := range audiences {
		if w.publish[kind] {
			all = append(all, "publish-"+kind)
		}
	}
	return all
}

// follow returns what somebody is to be given.
func (w wishes) follow(who *bus.Identity) []dialect.Follow {
	var list []dialect.Follow
	for _, a := range w.addresses(who, w.subscribe) {
		list = append(list, dialect.Follow{Address: a, Last: true})
	}
	return list
}

// addresses returns the addresses of somebody's audiences, in the order in which they are served. A client without a user, group
// or session has no such audience.
func (w wishes) addresses(who *bus.Identity, kinds map[string]bool) []bus.Address {
	var list []bus.Address
	add := func(base string) {
		if a, err := bus.ParseAddress(base + "/topics/" + w.topic); err == nil {
			list = append(list, a)
		}
	}
	for _, kind := range audiences {
		switch {
		case !kinds[kind]:
		case kind == "broadcast":
			add("broadcast")
		case kind == "group":
			for _, g := range who.Groups {
				add("groups/" + g)
			}
		case kind == "user" && who.User != "":
			add("users/" + who.User)
		case kind == "session" && who.Session != "":
			add("sessions/" + who.Session)
		}
	}
	return list
}
