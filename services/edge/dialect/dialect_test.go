package dialect_test

import (
	"net/http"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
)

// mute is a dialect that can say nothing.
type mute struct{}

func (mute) Name() string                              { return "mute" }
func (mute) Hello(*http.Request) (dialect.Hello, bool) { return dialect.Hello{}, true }
func (mute) Close(*bus.Error) (int, string)            { return 0, "" }

// torn is a dialect that is both stateless and stateful.
type torn struct{ native.JSON }

func (torn) Converse(dialect.Capabilities, dialect.Hello) dialect.Conversation { return nil }

func TestCheck(t *testing.T) {
	if err := dialect.Check(native.JSON{}); err != nil {
		t.Error(err)
	}
	for _, d := range []dialect.Dialect{mute{}, torn{}} {
		if dialect.Check(d) == nil {
			t.Errorf("%T is taken", d)
		}
	}
}
