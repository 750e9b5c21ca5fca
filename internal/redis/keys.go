package redis

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// keys spells every name in Redis. Names of one address share the hash tag {address}, so that a
// script may touch them in a Cluster. No name of a caller contains a brace.
type keys struct {
	prefix   string
	database int
}

func (k keys) of(a bus.Address, suffix string) string {
	return k.prefix + "{" + a.String() + "}:" + suffix
}

// stream is the log: ids are <offset>-<publish time in ms>. An entry is the envelope (m), and what is needed to show it while it is
// hidden.
func (k keys) stream(a bus.Address) string { return k.of(a, "s") }

// meta is a hash of the epoch (e), the newest offset (o), and the replication id of the server that made the epoch (r). It also
// has the epochs before with the offsets up to which they are the same log (p). While entries are hidden, it has the newest
// offset that is visible (v) and the newest one that was given up (g). The offsets of entries that were withdrawn unseen are
// there, too (w).
func (k keys) meta(a bus.Address) string { return k.of(a, "m") }

// beginning is the epoch of the position of addresses that have no log yet, and of which everything acknowledged is so durable.
func (k keys) beginning(tag string, least Least) string {
	name := k.prefix + "{" + tag + "}:b"
	switch least.Durability {
	case bus.Fsynced:
		name += ":f"
	case bus.Replicated:
		name += ":r" + strconv.Itoa(least.Replicas)
	}
	return name
}

// leastOf is how durable everything is that was acknowledged at the addresses of a beginning.
func (keys) leastOf(beginning string) Least {
	// A name without a class ends with the letter of beginnings, which is none.
	class := beginning[strings.LastIndexByte(beginning, ':')+1:]
	switch {
	case class == "f":
		return Least{Durability: bus.Fsynced}
	case strings.HasPrefix(class, "r"):
		if n, err := strconv.Atoi(class[1:]); err == nil {
			return Least{Durability: bus.Replicated, Replicas: n}
		}
	}
	return Least{}
}

// push is the pub/sub channel. It carries "<epoch> <offset>\n" and the envelope, or "\n" and the envelope of a live message.
// Either stands behind a "!" when a copy comes on the alias of the address next. Channels belong to no database of Redis, so the
// number of any but the first is in the name.
func (k keys) push(a bus.Address) string {
	if k.database == 0 {
		return k.of(a, "p")
	}
	return k.of(a, "p"+strconv.Itoa(k.database))
}

// channel is the record of a created channel, as JSON.
func (k keys) channel(a bus.Address) string { return k.of(a.WithoutTopic(), "c") }

// idempotency is a hash of the digest (d) and the first answer (i, e, o, t). For a live message it also has the era of the
// channel (g). It is named by a digest of the publisher and its key.
func (k keys) idempotency(p *bus.Publication) string {
	if p.IdempotencyKey == "" {
		return k.of(p.Message.To, "i")
	}
	// A digest, because the key of a publisher may have any bytes and any length.
	sum := sha256.Sum256([]byte(p.Publisher + "\n" + p.IdempotencyKey))
	return k.of(p.Message.To, "i:"+hex.EncodeToString(sum[:16]))
}

// era is another after the channel was deleted: keys that were used before are void then. It outlives them.
func (k keys) era(a bus.Address) string { return k.of(a, "g") }

// delivery is a hash of what is known of one message that asks for an ack; scripts append the id.
func (k keys) delivery(a bus.Address, id string) string { return k.of(a, "k:"+id) }

// collapse is a hash from collapse keys to message ids.
func (k keys) collapse(a bus.Address) string { return k.of(a, "x") }

// acked is a sorted set of the entries of an inbox that everybody who was given them has acknowledged, by their end in ms.
func (k keys) acked(a bus.Address) string { return k.of(a, "a") }

// due is one of the sorted sets of messages by the time at which they have to be looked at.
func (k keys) due(n int) string { return k.prefix + "{due:" + strconv.Itoa(n) + "}" }

// state is a hash of the state's value (v), revision (r) and time of change (t).
func (k keys) state(a bus.Address) string { return k.of(a, "j") }

// last is the last message that was retained, as on the pub/sub channel. An alias that keeps has the copy under its own name instead.
func (k keys) last(a bus.Address) string { return k.of(a, "l") }

// roster is a hash of the members by connection: when the connection was lost, in ms, or 0, and the member as JSON.
func (k keys) roster(a bus.Address) string { return k.of(a, "r") }

// rosterOrder is a sorted set of the connections, and rosterClients a hash of how many each client has.
func (k keys) rosterOrder(a bus.Address) string   { return k.of(a, "rz") }
func (k keys) rosterClients(a bus.Address) string { return k.of(a, "rc") }

// rosterLost is a sorted set of the lost connections by the end of their grace.
func (k keys) rosterLost(a bus.Address) string { return k.of(a, "rl") }

// rosterUntold is a list of events of the roster that are not in the log of events yet.
func (k keys) rosterUntold(a bus.Address) string { return k.of(a, "ru") }

// rosterNode is the set of the connections of a node.
func (k keys) rosterNode(a bus.Address, node string) string { return k.of(a, "rn:"+node) }

// rosterDue is a sorted set of "<address> <time>" by when the address has to be looked at for lost members.
func (k keys) rosterDue() string { return k.prefix + "{rosters}:due" }

// nodeIndex is a sorted set of the addresses where a node has members, by the time of the last Join or Touch.
func (k keys) nodeIndex(node string) string { return k.prefix + "{rosters}:n:" + node }

// nodeTaken counts how often members of a node were removed because it was taken for dead.
func (k keys) nodeTaken(node string) string { return k.prefix + "{rosters}:t:" + node }

// channels is a sorted set of the created channels' addresses.
func (k keys) channels() string { return k.prefix + "{channels}" }

// nodes and heard are the living processes and when they were heard of.
func (k keys) nodes() string { return k.prefix + "{nodes}" }
func (k keys) heard() string { return k.prefix + "{nodes}:heard" }

// truce is until when, in ms, nobody is taken for dead after the store was away, so that all have time to be heard of.
func (k keys) truce() string { return k.prefix + "{nodes}:truce" }

// runs is a sorted set of processes with open connections by when they were heard of. Another one, deadRuns, is of those that
// were not heard of for so long that their connections are told to have ended.
func (k keys) runs() string     { return k.prefix + "{connections}" }
func (k keys) deadRuns() string { return k.prefix + "{connections}:dead" }

// opened is a hash of a process's open connections as JSON, by id; deadOpened is what it becomes when the process is dead.
func (k keys) opened(run string) string     { return k.prefix + "{connections:" + run + "}" }
func (k keys) deadOpened(run string) string { return k.prefix + "{connections:" + run + "}:dead" }

// addresses is what the names of a space's sketches begin with, by which its addresses are counted. There is one sketch for each day,
// and one for the days before today.
func (k keys) addresses(space string) string { return k.prefix + "{addresses:" + space + "}" }

// cursor is a hash of a reader's position (e, n), who holds it (o) and until when, in ms (u).
func (k keys) cursor(name string) string { return k.prefix + "{cursor:" + name + "}" }

// token is a hash of an opaque token's value (v).
func (k keys) token(id string) string { return k.prefix + "{token:" + id + "}" }

// family is a hash of a family's value (v), and the digests of its newest refresh token (n) and of the one before (b). The key
// familyAnswer has the sealed answer to the exchange of the one for the other.
func (k keys) family(id string) string       { return k.prefix + "{family:" + id + "}" }
func (k keys) familyAnswer(id string) string { return k.prefix + "{family:" + id + "}:a" }

// values is a hash of the values of an owner. The owner is a digest of its name: the name may have a brace.
func (k keys) values(owner string) string {
	sum := sha256.Sum256([]byte(owner))
	return k.prefix + "{values:" + hex.EncodeToString(sum[:16]) + "}"
}

// revoked is the time up to which a subject's tokens are refused. All these times share the slot of the log of revocations, so that
// one script writes both, and many are read in one round trip. A kind has no colon, so nothing else is named so.
func (k keys) revoked(s bus.Subject) string { return k.of(bus.Revoked, "v:"+s.Kind+":"+s.ID) }

// lostLife is the epoch of the log of revocations in which the time of SubjectLost was set. The hash lostEnds has the ends of
// that log that were noted as lost, by epoch.
func (k keys) lostLife() string { return k.of(bus.Revoked, "ve") }
func (k keys) lostEnds() string { return k.of(bus.Revoked, "vl") }

// probe is the pub/sub channel on which one connection hears itself.
func (k keys) probe(id string) string { return k.prefix + "{probe:" + id + "}" }

// life is the pub/sub channel that feeds keep subscribed for as long as the server is in the life of that replication id.
func (k keys) life(id string) string { return k.prefix + "life:" + id }

// types are the types of the keys of one address, by what stands behind its tag up to the next colon.
var types = map[string]string{
	"s": "stream", "m": "hash", "b": "string", "c": "string", "i": "hash", "g": "string", "k": "hash", "x": "hash", "a": "zset",
	"j": "hash", "l": "string", "r": "hash", "rz": "zset", "rc": "hash", "rl": "zset", "ru": "list", "rn": "set", "v": "string", "ve": "string", "vl": "hash",
	"-": "none",
}

// tagTypes are the types of keys that have a tag of their own. The name has that tag and what stands behind it, each up to the next
// colon.
var tagTypes = map[string]string{
	"due": "zset", "rosters due": "zset", "rosters n": "zset", "rosters t": "hash", "channels": "zset", "nodes": "hash", "nodes heard": "zset",
	"nodes truce": "string", "connections": "zset", "connections dead": "zset", "connections of": "hash", "connections of dead": "hash",
	"cursor": "hash", "token": "hash", "family": "hash", "family a": "string", "values": "hash",
}

// typeOf is the type that a key has when it is ours.
func (k keys) typeOf(name string) string {
	tag, suffix, _ := strings.Cut(strings.TrimPrefix(name, k.prefix+"{"), "}")
	suffix, _, _ = strings.Cut(strings.TrimPrefix(suffix, ":"), ":")
	kind, of, named := strings.Cut(tag, ":")
	if kind == "connections" && named && of != "" {
		kind = "connections of"
	}
	if kind == "addresses" && named {
		return "string" // of a day
	}
	if t, ok := tagTypes[strings.TrimSpace(kind+" "+suffix)]; ok && !strings.Contains(kind, "/") {
		return t
	}
	return types[suffix]
}

// never is a key beside another one that is never there. In a Cluster every script names one. A master whose slot is on its way
// to another refuses a script then, whatever else it names. It does not run a part of it.
func (k keys) never(beside string) string {
	return server.Tag(beside) + ":-"
}
