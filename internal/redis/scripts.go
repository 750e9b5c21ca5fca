package redis

import (
	"embed"
	"fmt"

	"github.com/redis/go-redis/v9"
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

func script(name string) *redis.Script { return register(source(name)) }

// appending returns a script that can call current(), which says under which epoch to append.
func appending(name string) *redis.Script { return register(source("epoch") + source(name)) }

// publishing returns a script that can call publish().
func publishing(name string) *redis.Script {
	return register(source("epoch") + "local function publish()\n" + source("publish") + "end\n" + source(name))
}

func register(text string) *redis.Script {
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
