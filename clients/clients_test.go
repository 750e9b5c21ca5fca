// Package clients_test makes the clients as their pages of the documents say, and runs them.
package clients_test

import (
	"cmp"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// programs are the clients, by the name of their page.
var programs = map[string]struct{ file, fence string }{
	"cpp":    {"clients/cpp/client.cc", "cpp"},
	"go":     {"clients/go/main.go", "go"},
	"java":   {"clients/java/Client.java", "java"},
	"node":   {"clients/node/client.mjs", "js"},
	"python": {"clients/python/client.py", "python"},
	"ruby":   {"clients/ruby/client.rb", "ruby"},
}

// packages are what the pages install on Debian, each with a file that it has.
var packages = map[string]string{
	"default-jdk-headless":                 "/usr/bin/javac",
	"g++":                                  "/usr/bin/g++",
	"libgeronimo-annotation-1.3-spec-java": "/usr/share/java/geronimo-annotation-1.3-spec.jar",
	"libgrpc++-dev":                        "/usr/include/grpcpp/grpcpp.h",
	"libgrpc-java":                         "/usr/share/java/grpc-netty.jar",
	"libguava-java":                        "/usr/share/java/guava.jar",
	"libnetty-java":                        "/usr/share/java/netty-codec-http2.jar",
	"libperfmark-java":                     "/usr/share/java/perfmark-api.jar",
	"libprotobuf-dev":                      "/usr/include/google/protobuf/timestamp.proto",
	"libprotobuf-java":                     "/usr/share/java/protobuf.jar",
	"pkg-config":                           "/usr/bin/pkg-config",
	"protobuf-compiler":                    "/usr/bin/protoc",
	"protobuf-compiler-grpc":               "/usr/bin/grpc_cpp_plugin",
	"protobuf-compiler-grpc-java-plugin":   "/usr/bin/grpc_java_plugin",
	"python3-grpcio":                       "/usr/lib/python3/dist-packages/grpc/__init__.py",
	"python3-protobuf":                     "/usr/lib/python3/dist-packages/google/protobuf/message.py",
	"mono-mcs":                             "/usr/bin/mcs",
	"mypy":                                 "/usr/bin/mypy",
	"php-cli":                              "/usr/bin/php",
	"php-google-protobuf":                  "/usr/share/php/Google/Protobuf/Any.php",
	"ruby-grpc":                            "/usr/lib/*/rubygems-integration/*/specifications/grpc-[0-9]*.gemspec",
}

// tools are packages of other makers that a checkout needs anyway.
var tools = []string{"golang", "nodejs", "npm"}

var fenced = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// page is what a page of the documents has in fences.
type page struct {
	install, build, run string
	program, buf        string
}

func read(tb testing.TB, name string) string {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("..", name))
	testkit.Check(tb, err)
	return string(b)
}

func pageOf(tb testing.TB, name string) page {
	tb.Helper()
	var p page
	var commands []string
	for _, m := range fenced.FindAllStringSubmatch(read(tb, "docs/languages/"+name+".md"), -1) {
		switch m[1] {
		case "sh":
			commands = append(commands, m[2])
		case "yaml":
			p.buf = m[2]
		case cmp.Or(programs[name].fence, name):
			p.program += m[2]
		default:
			tb.Errorf("docs/languages/%s.md has a fence of %s", name, m[1])
		}
	}
	switch len(commands) {
	case 3:
		p.build = commands[1]
		fallthrough
	case 2:
		p.install, p.run = commands[0], commands[len(commands)-1]
	default:
		tb.Fatalf("docs/languages/%s.md has %d blocks of commands; want install, generate unless nothing is, and run", name, len(commands))
	}
	return p
}

// A page that has commands is one whose commands are run here: those of PHP by a test of its own.
func TestPages_areAllRun(t *testing.T) {
	pages, err := filepath.Glob("../docs/languages/*.md")
	testkit.Check(t, err)
	for _, page := range pages {
		b, err := os.ReadFile(page)
		testkit.Check(t, err)
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		if strings.Contains(string(b), "\n```sh\n") && programs[name].file == "" && name != "php" {
			t.Errorf("docs/languages/%s.md has commands, and no test runs them", name)
		}
	}
}

// lines returns what is written on lines, without empty ones and without indents: a page shows parts of a class at its margin.
func lines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if trimmed := strings.TrimSpace(line); trimmed != "" {
			all = append(all, trimmed)
		}
	}
	return all
}

// The code of a page, put together, is the program that the other tests run.
func TestPages_showThePrograms(t *testing.T) {
	for name, program := range programs {
		shown, written := lines(pageOf(t, name).program), lines(read(t, program.file))
		for i := range max(len(shown), len(written)) {
			if i >= len(shown) || i >= len(written) || shown[i] != written[i] {
				t.Errorf("docs/languages/%s.md and %s differ from line %d of the code:\n%q\n%q", name, program.file, i+1,
					strings.Join(shown[min(i, len(shown)):min(i+1, len(shown))], ""), strings.Join(written[min(i, len(written)):min(i+1, len(written))], ""))
				break
			}
		}
	}
}

// installs returns the packages that a page installs.
func (p page) installs() []string {
	_, list, _ := strings.Cut(p.install, "apt-get install")
	return slices.DeleteFunc(strings.Fields(strings.ReplaceAll(list, "\\", "")), func(s string) bool { return slices.Contains(tools, s) })
}

// What a page installs is what is installed where the tests run.
func TestPages_installWhatTheTestsUse(t *testing.T) {
	script := read(t, ".ci/install")
	for name := range programs {
		p := pageOf(t, name)
		if strings.Contains(p.build, "protoc ") && !slices.Contains(p.installs(), "libprotobuf-dev") {
			t.Errorf("docs/languages/%s.md runs protoc without the well-known types of libprotobuf-dev", name)
		}
		for _, wanted := range p.installs() {
			if packages[wanted] == "" {
				t.Errorf("docs/languages/%s.md installs %s, which nothing looks for here", name, wanted)
			}
			if !strings.Contains(script, "want "+wanted+" ") {
				t.Errorf(".ci/install does not install %s, which docs/languages/%s.md does", wanted, name)
			}
		}
	}
}

// needs ends the test when a package is missing.
func needs(tb testing.TB, wanted ...string) {
	tb.Helper()
	for _, name := range wanted {
		if found, err := filepath.Glob(packages[name]); err == nil && len(found) > 0 {
			continue
		}
		testkit.Missing(tb, "the package "+name)
	}
}

// checkout returns a folder with what the commands read, in which they may write.
func checkout(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	for _, name := range []string{"proto", "clients"} {
		from, err := filepath.Abs(filepath.Join("..", name))
		testkit.Check(tb, err)
		testkit.Check(tb, os.Symlink(from, filepath.Join(dir, name)))
	}
	return dir
}

// bash runs commands and returns what they print.
func bash(tb testing.TB, dir, commands string, environment ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "bash", "-euo", "pipefail", "-c", commands)
	cmd.Dir = dir
	// A python3 that somebody has put in front lacks the packages of Debian.
	path := "/usr/bin" + string(os.PathListSeparator) + os.Getenv("PATH")
	cmd.Env = append(os.Environ(), append(environment, "PATH="+path, "PYTHONDONTWRITEBYTECODE=1")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &errs
	if err := cmd.Run(); err != nil {
		tb.Fatalf("%v\n%s\n%s", err, said.String(), errs.String())
	}
	return said.String()
}

// healthy says whether a server tells that the publish service can be called.
func healthy(tb testing.TB, h *apptest.Deployment) func() bool {
	tb.Helper()
	health := grpc_health_v1.NewHealthClient(apptest.Dial(tb, h.GRPC, h.AdminKey))
	return func() bool {
		answer, err := health.Check(tb.Context(), &grpc_health_v1.HealthCheckRequest{Service: "trunkline.publish.v1.PublishService"})
		return err == nil && answer.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING
	}
}

// spelled makes the names of codes equal, which each language spells in its own way.
func spelled(text string) []string {
	return lines(strings.ToLower(strings.ReplaceAll(text, "_", "")))
}

// transcript returns what each program prints, from the page that all languages share.
func transcript(tb testing.TB) []string {
	tb.Helper()
	_, section, _ := strings.Cut(read(tb, "docs/grpc.md"), "\n## Programs\n")
	m := fenced.FindStringSubmatch(section)
	if m == nil || m[1] != "text" {
		tb.Fatal("docs/grpc.md does not show what the programs print")
	}
	return spelled(m[2])
}

// Each program is made by the commands of its page and runs against a server. All of them see the same there: a token, an ack and its
// receipt, credits, a deadline, and the details of a refusal.
func TestPrograms(t *testing.T) {
	want := transcript(t)
	for name := range programs {
		t.Run(name, func(t *testing.T) {
			p := pageOf(t, name)
			needs(t, p.installs()...)
			t.Parallel() // compilers take long; at most as many run as there are cores
			dir := ".."
			if p.build != "" {
				dir = checkout(t)
			}
			h := apptest.Start(t)
			testkit.Within(t, "the server is healthy", 10*time.Second, healthy(t, h))
			said := bash(t, dir, p.build+strings.ReplaceAll(p.run, "localhost:9090", h.GRPC), "API_KEY="+h.AdminKey)
			if got := spelled(said); !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// buf makes the same files by the configuration that a page shows.
func TestPages_bufDoesTheSame(t *testing.T) {
	buf, err := filepath.Abs("../.ci/tools/node_modules/.bin/buf")
	testkit.Check(t, err)
	if _, err := os.Stat(buf); err != nil {
		testkit.Missing(t, "buf")
	}
	for name := range programs {
		p := pageOf(t, name)
		if p.buf == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			needs(t, p.installs()...)
			byProtoc, byBuf := checkout(t), checkout(t)
			protoc, _, _ := strings.Cut(p.build, "jars=")
			protoc, _, _ = strings.Cut(protoc, "{ echo")
			bash(t, byProtoc, protoc)
			testkit.Check(t, os.WriteFile(filepath.Join(byBuf, "buf.gen.yaml"), []byte(p.buf), 0o600))
			bash(t, byBuf, buf+" generate proto")
			made := 0
			ours := func(at string) bool { return strings.Contains(at, "trunkline") }
			for _, at := range files(t, filepath.Join(byProtoc, "out")) {
				if ours(at) {
					made++
					if _, err := os.Stat(filepath.Join(byBuf, "out", at)); err != nil {
						t.Errorf("buf did not make %s", at)
					}
				}
			}
			if made < 10 {
				t.Errorf("protoc made %d files", made)
			}
		})
	}
}

// files returns the files in a folder.
func files(tb testing.TB, folder string) []string {
	tb.Helper()
	var all []string
	testkit.Check(tb, filepath.WalkDir(folder, func(at string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			at, err = filepath.Rel(folder, at)
			all = append(all, at)
		}
		return err
	}))
	return all
}
