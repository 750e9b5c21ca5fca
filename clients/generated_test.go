package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/testkit"
)

// readsPHP parses all PHP files in the current folder, and packs and reads a message as the page shows.
const readsPHP = `
$parsed = 0;
foreach (new RecursiveIteratorIterator(new RecursiveDirectoryIterator("out")) as $file) {
  if (str_ends_with($file, ".php")) { PhpToken::tokenize(file_get_contents($file), TOKEN_PARSE); $parsed++; }
}
spl_autoload_register(function ($class) {
  foreach (["out/", "/usr/share/php/"] as $folder) {
    $file = $folder . str_replace("\\", "/", $class) . ".php";
    if (is_file($file)) { require_once $file; return; }
  }
});
%s
$read = new Trunkline\Publish\V1\PublishRequest();
$read->mergeFromString($request->serializeToString());
echo $parsed > 50 ? "parsed" : $parsed, " ", $read->getTo(), " ", $read->getData(), " ", $read->getAck()->getTimeout()->getSeconds();
`

// What protoc makes for PHP is PHP, and the message of the page is what it says.
func TestPHP(t *testing.T) {
	p := pageOf(t, "php")
	needs(t, p.installs()...)
	dir := checkout(t)
	bash(t, dir, p.run)
	said := bash(t, dir, "php -d display_errors=stderr -r \"$PROGRAM\"", "PROGRAM="+strings.Replace(readsPHP, "%s", p.program, 1))
	if want := `parsed users/ada {"text":"hello"} 30`; said != want {
		t.Errorf("got %q, want %q", said, want)
	}
}

// What protoc makes for C# can be parsed. So event, the name of a field and a keyword of C#, is no obstacle: the property is Event.
func TestCSharp(t *testing.T) {
	needs(t, "protobuf-compiler", "libprotobuf-dev", "mono-mcs")
	dir := checkout(t)
	bash(t, dir, `mkdir -p out && protoc -I proto --csharp_out=out $(find proto/trunkline -name "*.proto") && mcs --parse out/*.cs`)
	if made := files(t, filepath.Join(dir, "out")); len(made) < 15 {
		t.Errorf("%d files were made", len(made))
	}
	bash(t, dir, `grep -q "public global::Trunkline.Hooks.V1.Event Event {" out/EventService.cs`)
}

// usesPython has one fault, which types have to show.
const usesPython = `from trunkline.publish.v1 import message_pb2, publish_service_pb2

request = publish_service_pb2.PublishRequest(to="users/ada", data=b"1", sender=message_pb2.Sender(client="phone"))
print(request.sender.client)
publish_service_pb2.PublishRequest(to="users/ada", nonsense=3)
`

// The types in gen/python are right, and tell a field that does not exist. Those of protobuf itself are a package of their own.
func TestPython_types(t *testing.T) {
	needs(t, "mypy")
	gen, err := filepath.Abs("../gen/python")
	testkit.Check(t, err)
	dir := t.TempDir()
	testkit.Check(t, os.WriteFile(filepath.Join(dir, "use.py"), []byte(usesPython), 0o600))
	said := lines(bash(t, dir, "mypy --disable-error-code=import use.py || true", "MYPYPATH="+gen))
	want := `use.py:5: error: Unexpected keyword argument "nonsense" for "PublishRequest"`
	if len(said) == 0 || !strings.HasPrefix(said[0], want) || !strings.HasPrefix(said[len(said)-1], "Found 1 error in 1 file") {
		t.Errorf("mypy says\n%s", strings.Join(said, "\n"))
	}
}
