package bus_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
)

// uses are names that only some files may use, because each of them decides what is written for whom. A file that is not in
// the list has to go through the door instead.
var uses = map[string][]string{
	// Only the door makes these, and only tests of stores go past it.
	"Admitted{}": {"internal/bus/door.go"}, "AdmittedState{}": {"internal/bus/door.go"}, "AdmittedRecord{}": {"internal/bus/door.go"},
	"Entry{}": {"internal/bus/door.go"},
	// In their own package, any mention: a file that names them may make one without a literal.
	"(bus) Admitted": {"internal/bus/door.go", "internal/bus/store.go"}, "(bus) AdmittedState": {"internal/bus/door.go", "internal/bus/state.go"},
	"(bus) AdmittedRecord": {"internal/bus/door.go", "internal/bus/store.go"}, "(bus) Entry": {"internal/bus/door.go"},
	"AdmitInTest": {"internal/bus/bustest/admit.go"}, "AdmitStateInTest": {"internal/bus/bustest/admit.go"}, "AdmitRecordInTest": {},
	// Each service has one door, for its own configuration.
	"NewDoor": {"services/publish/server.go", "services/edge/edge.go", "legacy/pushserver/service.go", "legacy/relay/service.go"},
	// Callers without a token or a key.
	"Holder{}": {"legacy/pushserver/service.go", "legacy/relay/service.go"},
	// What is written in nobody's name, or was let in before.
	"Tell": {"services/edge/behind/events.go", "services/publish/sweep.go"}, "Buried": {"services/edge/inbox.go"},
	"AdmitRecord": {"legacy/relay/service.go"},
	// The stores' own publishing, which takes a description: for what they tell themselves. Looked for in the stores.
	"publish()":     {"internal/redis/publish.go", "internal/memory/publish.go", "internal/memory/revocations.go", "internal/memory/events.go", "internal/memory/state.go"},
	"publishAll()":  {"internal/redis/publish.go", "internal/redis/events.go"},
	"publishCall()": {"internal/redis/publish.go", "internal/redis/durable.go", "internal/redis/state.go"},
	"inboxCall()":   {"internal/redis/publish.go"}, "pushCmd()": {"internal/redis/publish.go"},
	// An edge calls these as a back end that is believed: only where the door was asked for the client.
	"PublishServiceClient": {"services/edge/commands.go"}, "StateServiceClient": {"services/edge/commands.go"},
	"NewPublishServiceClient": {"services/edge/edge.go"}, "NewStateServiceClient": {"services/edge/edge.go"},
}

// elsewhere begins the paths where these names are not looked for. There callers come with their own credentials, or it is a test.
var elsewhere = []string{"bench/", "client/", "clients/", "cmd/", "docs/", "faults/", "gateway/", "gen/", "internal/app/apptest/", "internal/e2e/", "internal/verify/", "web/"}

// There is one way to a store: whatever is written passes the door, for the one who wants it.
func TestDoor_isTheOnlyWay(t *testing.T) {
	found := make(map[string]map[string]bool) // names of each file
	root := os.DirFS(filepath.Join("..", ".."))
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := path + "/"; d.IsDir() && (path != "." && strings.HasPrefix(d.Name(), ".") || slices.Contains(elsewhere, name)) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		found[path] = make(map[string]bool)
		stores := strings.HasPrefix(path, "internal/redis/") || strings.HasPrefix(path, "internal/memory/")
		for _, name := range used(file) {
			found[path][name] = stores || !strings.HasSuffix(name, "()")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range uses {
		for path, names := range found {
			if names[name] && !slices.Contains(files, path) {
				t.Errorf("%s uses %s: what is written goes through bus.Door, for the caller", path, name)
			}
		}
		for _, path := range files {
			if !found[path][name] {
				t.Errorf("%s is said to use %s and does not", path, name)
			}
		}
	}
}

// used returns the names that a file uses. Literals of a type with fields are T{}, and methods of its own package's types that
// are called are f(). Other names are as they are. In package bus every name is one too.
func used(file *ast.File) []string {
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			if file.Name.Name == "bus" {
				names = append(names, "(bus) "+n.Name)
			}
		case *ast.CompositeLit:
			if len(n.Elts) > 0 {
				names = append(names, nameOf(n.Type)+"{}")
			}
		case *ast.CallExpr:
			names = append(names, nameOf(n.Fun)+"()", nameOf(n.Fun))
		case *ast.SelectorExpr:
			if n.Sel.IsExported() {
				names = append(names, n.Sel.Name)
			}
		}
		return true
	})
	return names
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// authorizer refuses everything or nothing, and notes the questions.
type authorizer struct {
	refuse bool
	asked  []bus.Address
}

func (a *authorizer) Authorize(_ context.Context, q bus.Question) error {
	a.asked = append(a.asked, q.Address)
	if a.refuse {
		return bus.Denied(q.Action, q.Address)
	}
	return nil
}

func named(t *testing.T, s string) bus.Address {
	t.Helper()
	a, err := bus.StoredAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func message(t *testing.T, to string) bus.Publication {
	t.Helper()
	return bus.Publication{Message: bus.Message{ID: "1", To: named(t, to), ContentType: bus.JSON}}
}

// backend may do everything that an address allows.
type backend struct{}

func (backend) Check(bus.Action, bus.Address) error { return nil }
func (backend) Who() *bus.Identity                  { return nil }
func (backend) Author(from bus.Sender) bus.Author   { return bus.Author{Key: "backend", Sender: from} }

// The addresses of Trunkline itself are nobody's, whatever somebody was given.
func TestDoor_systemAddressesAreNobodys(t *testing.T) {
	d := bus.NewDoor(bus.DoorConfig{})
	for _, to := range []string{"system/revoked", "system/events"} {
		if _, err := d.Admit(t.Context(), backend{}, message(t, to)); !errors.Is(err, bus.ErrPublishDenied) {
			t.Errorf("%s: %v", to, err)
		}
		p := message(t, "users/ada")
		p.Ack = &bus.AckTerms{Scope: bus.AnyDevice, MaxDeliveries: 1, DeadLetter: named(t, to)}
		if _, err := d.Admit(t.Context(), backend{}, p); !errors.Is(err, bus.ErrPublishDenied) {
			t.Errorf("dead letters to %s: %v", to, err)
		}
	}
}

// A holder publishes to what it holds, topics too, and does nothing else there.
func TestHolder_holdsOneChannel(t *testing.T) {
	d := bus.NewDoor(bus.DoorConfig{})
	for _, c := range []struct {
		holder bus.Holder
		to     string
		may    bool
	}{
		{bus.Holder{Channel: named(t, "channels/a")}, "channels/a", true},
		{bus.Holder{Channel: named(t, "channels/a")}, "channels/a/topics/x", true},
		{bus.Holder{Channel: named(t, "channels/a")}, "channels/b", false},
		{bus.Holder{Kind: bus.KindClients}, "clients/a", true},
		{bus.Holder{Kind: bus.KindClients}, "users/a", false},
		{bus.Holder{}, "channels/a", false},
	} {
		if _, err := d.Admit(t.Context(), c.holder, message(t, c.to)); c.may != (err == nil) {
			t.Errorf("%+v to %s: %v", c.holder, c.to, err)
		}
		if err := c.holder.Check(bus.Subscribe, named(t, c.to)); err == nil {
			t.Errorf("%+v may subscribe to %s", c.holder, c.to)
		}
	}
}

// The authorizer is asked about every address that is written to, and not before the form is right.
func TestDoor_asksAboutEveryAddress(t *testing.T) {
	a := &authorizer{}
	d := bus.NewDoor(bus.DoorConfig{Authorizer: a})
	pattern, err := bus.ParsePattern("*")
	if err != nil {
		t.Fatal(err)
	}
	who := &bus.Identity{Client: "c", User: "u", Grants: []bus.Grant{{Pattern: pattern, Actions: bus.Publish}}}
	p := message(t, "users/ada")
	p.Ack = &bus.AckTerms{Scope: bus.AnyDevice, MaxDeliveries: 1, DeadLetter: named(t, "channels/dead")}
	in, err := d.Admit(t.Context(), who, p)
	if err != nil || len(a.asked) != 2 {
		t.Fatalf("asked about %v, %v", a.asked, err)
	}
	if from := in.Publication().Message.From; from != (bus.Sender{Client: "c", User: "u"}) {
		t.Errorf("it is from %+v", from)
	}
	p.Message.From.User = "eve"
	if _, err := d.Admit(t.Context(), who, p); !errors.Is(err, bus.ErrFieldInvalid) || len(a.asked) != 2 {
		t.Errorf("in another's name: %v, asked about %v", err, a.asked)
	}
	a.refuse = true
	if _, err := d.Enter(t.Context(), who, named(t, "channels/x")); !errors.Is(err, bus.ErrPublishDenied) {
		t.Errorf("a state: %v", err)
	}
}

// The leave to write to one address is none for another, and nobody has one who was not let in.
func TestEntry_isForOneAddress(t *testing.T) {
	d := bus.NewDoor(bus.DoorConfig{})
	leave, err := d.Enter(t.Context(), backend{}, named(t, "channels/a"))
	if err != nil {
		t.Fatal(err)
	}
	change := func(to string) bus.StateChange { return bus.StateChange{Publication: message(t, to)} }
	if _, err := d.AdmitState(leave, change("channels/b")); !errors.Is(err, bus.ErrPublishDenied) {
		t.Errorf("another address: %v", err)
	}
	if _, err := d.AdmitState(bus.Entry{}, change("channels/a")); !errors.Is(err, bus.ErrPublishDenied) {
		t.Errorf("no leave: %v", err)
	}
	large := change("channels/a")
	large.Value = make([]byte, 64<<10+1)
	if _, err := d.AdmitState(leave, large); !errors.Is(err, bus.ErrMessageTooLarge) {
		t.Errorf("a large state: %v", err)
	}
	if _, err := d.AdmitState(leave, change("channels/a")); err != nil {
		t.Error(err)
	}
}
