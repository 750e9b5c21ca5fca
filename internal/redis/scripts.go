package redis

import (
	"embed"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/redis/server"
)

//go:embed lua/*.lua
var sources embed.FS

// texts are the scripts by their hash, for servers that do not know them yet. Complete before the program begins.
var texts = map[string]string{}

func source(name string) string {
	b, err := sources.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // the program was built without a script
	}
	return string(b)
}

// script returns a script that begins with preludes, whose functions it calls.
func script(name string, preludes ...string) *redis.Script {
	flags, body := server.Shebang(source(name))
	return register(flags + strings.Join(preludes, "") + body)
}

// pushing returns a script as one that is only called where it writes nothing. Without a first line Redis runs it when it is
// full, and also when its disk fails.
func pushing(name string) *redis.Script {
	_, body := server.Shebang(source(name))
	return register(strings.Join(publishPreludes(), "") + body)
}

// publishPreludes are the preludes of the script that publishes.
func publishPreludes() []string {
	return []string{source("epoch"), source("young"), source("era"), source("tight"), source("created")}
}

// appending returns a script that can call current(), which says under which epoch to append.
func appending(name string) *redis.Script { return script(name, source("epoch")) }

// calling returns a script that can call publish().
func calling(name string) *redis.Script {
	_, publish := server.Shebang(source("publish"))
	return script(name, append(publishPreludes(), "local function publish()\n", publish, "end\n")...)
}

// register makes a script of a text. All of them count in the same way with what they find in Redis.
func register(text string) *redis.Script {
	flags, body := server.Shebang(text)
	text = flags + source("tonumber") + body
	sc := redis.NewScript(text)
	texts[sc.Hash()] = text
	return sc
}

// sourceOf returns the text of a script.
func sourceOf(sc *redis.Script) (string, error) {
	if text, ok := texts[sc.Hash()]; ok {
		return text, nil
	}
	return "", fmt.Errorf("no script has the hash %s", sc.Hash())
}

// countsKeys says whether a script goes through all of its keys, whatever they are.
func countsKeys(sc *redis.Script) bool { return counters()[sc.Hash()] }

var counters = sync.OnceValue(func() map[string]bool {
	found := make(map[string]bool)
	for hash, text := range texts {
		// Such a script would take a name that is never there for one of its own.
		found[hash] = strings.Contains(text, "#KEYS") || strings.Contains(text, "(KEYS)")
	}
	return found
})
