package facility

import (
	"net/http"
	"net/url"
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

// wishesOf reads the path behind prefix and the names in the query; their values do not matter.
func wishesOf(r *http.Request, prefix string) wishes {
	facility := strings.TrimPrefix(r.URL.Path, prefix)
	w := wishes{
		topic: dialect.Name(facility), subscribe: make(map[string]bool), publish: make(map[string]bool),
	}
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, _, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			continue
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if kind, ok := strings.CutPrefix(name, "subscribe-"); ok {
			w.subscribe[kind] = true
		} else if kind, ok := strings.CutPrefix(name, "publish-"); ok {
			w.publish[kind] = true
		}
		w.echo = w.echo || name == "echo"
		w.state = w.state || name == "state"
	}
	w.place = &bus.Place{Dialect: protocol, Facility: facility, Wishes: w.list()}
	return w
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
