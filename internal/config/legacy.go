package config

import (
	"slices"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// Legacy is the older protocols.
type Legacy struct {
	Dialects []string `key:"dialects" oneof:"all,relay,pushserver,rooms,facility" doc:"The older protocols that are spoken."`
	Open     bool     `key:"open" doc:"Lets everybody do, outside development mode, what the older protocols let everybody do; without it they ask for tokens and API keys."`
	Commands Commands `key:"commands"`

	Relay      Relay      `key:"relay"`
	PushServer PushServer `key:"pushserver"`
	Rooms      Rooms      `key:"rooms"`
	Facility   Facility   `key:"facility"`

	// Protocols are the older protocols that there are; the program brings them with the defaults.
	Protocols []Protocol `key:"-"`
}

// Commands is what command frames may do.
type Commands struct {
	Allow []string      `key:"allow" oneof:"GET,SET,DEL,INCR,EXPIRE,TTL" doc:"The store commands that clients may send in command frames, on values of their own; none when empty."`
	Keys  int           `key:"keys" min:"1" max:"10000" doc:"How many keys one session may have."`
	Keep  time.Duration `key:"keep" min:"1s" max:"720h" doc:"How long its values are kept after the last change."`
}

// Relay is where the relay protocol listens.
type Relay struct {
	HTTP      string `key:"http_listen" kind:"listen" doc:"Where the relay's GET /token, GET /auth and POST /publish listen."`
	WebSocket string `key:"websocket_listen" kind:"listen" doc:"Where the relay's /ws listens."`
}

// PushServer is where the push protocol listens.
type PushServer struct {
	HTTP      string `key:"http_listen" kind:"listen" doc:"Where the push server's publisher API and its script listen."`
	WebSocket string `key:"websocket_listen" kind:"listen" doc:"Where the push server's WebSockets listen."`
}

// Rooms is how the rooms protocol is spoken.
type Rooms struct {
	Listen     string        `key:"listen" kind:"listen" doc:"Where the /ws/{room} and GET /roomid of the rooms protocol listen. The relay's HTTP may listen there too."`
	Delivery   string        `key:"delivery" oneof:"broadcast,addressed" doc:"Whether a message that names its addressee also goes to everybody else, as in the original (broadcast), or to nobody else (addressed)."`
	Scope      string        `key:"scope" oneof:"all,room" doc:"all puts the connections of all rooms together, as the original does; room keeps each room apart."`
	AckTimeout time.Duration `key:"ack_timeout" min:"100ms" max:"1h" doc:"How long an addressee's ack may take before the message counts as stored."`
	Keep       time.Duration `key:"keep" min:"1s" max:"720h" doc:"How long a message waits for its addressee."`
	BindIDs    bool          `key:"bind_ids" doc:"Lets clients take no ids but those of their tokens; without legacy.open it is always so."`
	AnyOrigin  bool          `key:"any_origin" doc:"Lets pages of any origin connect, as the original does; otherwise those of edge.allowed_origins."`
}

// Facility is the protocol of facilities and audiences.
type Facility struct {
	Listen         string        `key:"listen" kind:"listen" doc:"Where its sockets listen."`
	Path           string        `key:"path" doc:"What comes before the facility in the path."`
	Prefix         string        `key:"prefix" doc:"What names in Redis begin with, without the colon behind it; the same as its Python programs have."`
	Expire         time.Duration `key:"expire" min:"0s" max:"720h" doc:"How long the last message of each audience is kept; 0 for not at all."`
	Heartbeat      string        `key:"heartbeat" doc:"What is sent every four seconds, and swallowed from clients; nothing when empty. The same as its clients have."`
	Cookie         string        `key:"cookie" doc:"The cookie that holds the session's key."`
	MaxMessage     Size          `key:"max_message" min:"1KiB" max:"3MiB" doc:"The largest message of a client."`
	AllowedOrigins []string      `key:"allowed_origins" kind:"origin" doc:"Origins of pages that may connect besides those of the same host name; * for all."`
	Resolver       Resolver      `key:"resolver"`
}

// Resolver is the site's own answer to whose a session is.
type Resolver struct {
	URL     Secret        `key:"url" doc:"Answers GET with a session's cookie: {\"user\":…,\"groups\":[…]}, or 401, 403 or 404. Asked, by the role auth, about sessions that nobody has registered; nobody when empty."`
	Timeout time.Duration `key:"timeout" min:"1ms" max:"1m" doc:"How long it may take; without an answer nobody is let in."`
	Cache   time.Duration `key:"cache" min:"1ms" max:"1h" doc:"For how long an answer is believed."`
}

// Protocol is what the settings have to know of an older protocol. Functions that it has no need of are nil.
type Protocol struct {
	Name string
	// Listeners says where it listens.
	Listeners func(l Legacy) []Listener
	// Bridges are the channels of Redis that it shares with older programs.
	Bridges []bus.BridgeRule
	// Names are the names that it shares in Redis with older programs.
	Names func(l Legacy) *bus.NameRule
	// Facilities is how the topics of audiences are kept, which it alone has.
	Facilities func(l Legacy) bus.Namespace
	// Namespace is for the channels on which its connections meet; they are live and tell who comes and goes.
	Namespace string
}

// Listener is one listener of an older protocol.
type Listener struct {
	Key, Address string
	Role         string
	// URL shows where it is reached, with %s for host:port.
	URL string
	// Takes says which paths are its own where it shares an address; nil for what no other takes.
	Takes func(path string) bool
}

// Spoken returns the older protocols that are switched on.
func (l Legacy) Spoken() []Protocol {
	var all []Protocol
	for _, p := range l.Protocols {
		if l.Speaks(p.Name) {
			all = append(all, p)
		}
	}
	return all
}

// Speaks says whether an older protocol is switched on.
func (l Legacy) Speaks(protocol string) bool {
	return slices.Contains(l.Dialects, protocol) || slices.Contains(l.Dialects, "all")
}

// LegacyOpen says whether the older protocols let everybody do what they always did.
func (c Config) LegacyOpen() bool { return c.Dev || c.Legacy.Open }

// LegacyListeners returns the listeners of the older protocols in this process.
func (c Config) LegacyListeners() []Listener {
	var all []Listener
	for _, p := range c.Legacy.Spoken() {
		all = append(all, c.ListenersOf(p)...)
	}
	return all
}

// ListenersOf returns the listeners of one older protocol in this process.
func (c Config) ListenersOf(p Protocol) []Listener {
	return slices.DeleteFunc(p.Listeners(c.Legacy), func(l Listener) bool { return l.Address == "" || !c.Runs(l.Role) })
}

// names returns the names that Redis shares with programs of the older protocols; nil for none.
func (l Legacy) names() *bus.NameRule {
	for _, p := range l.Spoken() {
		if p.Names != nil {
			return p.Names(l)
		}
	}
	return nil
}

// facilities is how the topics of audiences are kept; zero when nobody speaks of them.
func (l Legacy) facilities() bus.Namespace {
	for _, p := range l.Spoken() {
		if p.Facilities != nil {
			return p.Facilities(l)
		}
	}
	return bus.Namespace{}
}
