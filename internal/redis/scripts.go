package redis

import (
	"fmt"

	"github.com/redis/go-redis/v9"
)

// sourceOf returns the text of a script.
func sourceOf(sc *redis.Script) (string, error) {
	entries, err := sources.ReadDir("lua")
	if err != nil {
		return "", fmt.Errorf("read scripts: %w", err)
	}
	for _, e := range entries {
		b, err := sources.ReadFile("lua/" + e.Name())
		if err != nil {
			return "", fmt.Errorf("read script %s: %w", e.Name(), err)
		}
		if redis.NewScript(string(b)).Hash() == sc.Hash() {
			return string(b), nil
		}
	}
	return "", fmt.Errorf("no script has the hash %s", sc.Hash())
}
