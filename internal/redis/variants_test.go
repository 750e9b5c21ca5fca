package redis //nolint:testpackage // the texts of scripts are private to the store

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/redis/pipes"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// Every script has a variant that Redis takes, with the same first line.
func TestVariant_ofEveryScript(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: redistest.Start(t).Addr()})
	defer func() { _ = client.Close() }()
	for _, text := range texts {
		variant := pipes.VariantOf(text)
		line, _ := server.Shebang(text)
		if other, _ := server.Shebang(variant); other != line {
			t.Errorf("begins with %q, not %q", other, line)
		}
		if err := client.ScriptLoad(t.Context(), variant).Err(); err != nil {
			t.Errorf("%v\n%s", err, variant)
		}
	}
}
