// Package proto_test holds the contract to what generators of other languages need.
package proto_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/trunkline/trunkline/internal/testkit"
)

// keywords are the reserved words of languages whose generators keep the names of fields in lower case. Those of Go and C# write
// them with a capital letter, so that no reserved word of theirs can be met.
// The field event of WatchEventsResponse is the property Event there.
var keywords = map[string]string{
	"C++": `alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class compl concept
		const consteval constexpr constinit const_cast continue co_await co_return co_yield decltype default delete do double dynamic_cast
		else enum explicit export extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr
		operator or or_eq private protected public register reinterpret_cast requires return short signed sizeof static static_assert
		static_cast struct switch template this thread_local throw true try typedef typeid typename union unsigned using virtual void
		volatile wchar_t while xor xor_eq`,
	"Java": `_ abstract assert boolean break byte case catch char class const continue default do double else enum extends false final
		finally float for goto if implements import instanceof int interface long native new null package private protected public return
		short static strictfp super switch synchronized this throw throws transient true try void volatile while`,
	"Kotlin": `as break class continue do else false for fun if in interface is null object package return super this throw true try
		typealias typeof val var when while`,
	"PHP": `abstract and array as bool break callable case catch class clone const continue declare default die do echo else elseif empty
		enddeclare endfor endforeach endif endswitch endwhile eval exit extends false final finally float fn for foreach function global
		goto if implements include include_once instanceof insteadof int interface isset iterable list match mixed namespace never new null
		object or parent print private protected public readonly require require_once return self static string switch throw trait true try
		unset use var void while xor yield`,
	"Ruby": `BEGIN END alias and begin break case class def defined do else elsif end ensure false for if in module next nil not or redo
		rescue retry return self super then true undef unless until when while yield`,
	"Python": `False None True and as assert async await break class continue def del elif else except finally for from global if import
		in is lambda nonlocal not or pass raise return try while with yield`,
	"JavaScript and TypeScript": `arguments await break case catch class const constructor continue debugger default delete do else enum
		eval export extends false finally for function if implements import in instanceof interface let new null package private protected
		public return static super switch this throw true try typeof var void while with yield`,
	"Swift": `Any Self actor as associatedtype async await break case catch class continue default defer deinit do else enum extension
		fallthrough false fileprivate for func guard if import in init inout internal is let nil open operator precedencegroup private
		protocol public repeat rethrows return self static struct subscript super switch throw throws true try typealias var where while`,
	"Objective-C": `auto break case char const continue default do double else enum extern float for goto if inline int long register
		restrict return self short signed sizeof static struct super switch typedef union unsigned void volatile while`,
	"Rust": `abstract as async await become box break const continue crate do dyn else enum extern false final fn for gen if impl in let
		loop macro match mod move mut override priv pub ref return self static struct super trait true try type typeof unsafe unsized use
		virtual where while yield`,
}

// contract returns the files of the contract, read by protoc itself.
func contract(tb testing.TB) []protoreflect.FileDescriptor {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), "contract")
	protoc(tb, "--include_imports", "--descriptor_set_out="+out)
	b, err := os.ReadFile(out)
	testkit.Check(tb, err)
	set := new(descriptorpb.FileDescriptorSet)
	testkit.Check(tb, proto.Unmarshal(b, set))
	files, err := protodesc.NewFiles(set)
	testkit.Check(tb, err)
	var all []protoreflect.FileDescriptor
	for _, name := range sources(tb) {
		f, err := files.FindFileByPath(name)
		testkit.Check(tb, err)
		all = append(all, f)
	}
	return all
}

func sources(tb testing.TB) []string {
	tb.Helper()
	var all []string
	testkit.Check(tb, filepath.WalkDir(".", func(at string, _ fs.DirEntry, err error) error {
		if filepath.Ext(at) == ".proto" {
			all = append(all, filepath.ToSlash(at))
		}
		return err
	}))
	if len(all) < 15 {
		tb.Fatalf("found %d files of the contract", len(all))
	}
	return all
}

// protoc runs the compiler as somebody would who has nothing but this folder. It may not say a word.
func protoc(tb testing.TB, args ...string) {
	tb.Helper()
	if _, err := exec.LookPath("protoc"); err != nil {
		testkit.Missing(tb, "protoc")
	}
	out, err := exec.CommandContext(tb.Context(), "protoc", append(append([]string{"-I", "."}, args...), sources(tb)...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		tb.Fatalf("protoc %v: %v\n%s", args, err, out)
	}
}

// fields calls visit for each field of the messages, and of those within them.
func fields(messages protoreflect.MessageDescriptors, visit func(protoreflect.FieldDescriptor)) {
	for i := range messages.Len() {
		m := messages.Get(i)
		for j := range m.Fields().Len() {
			visit(m.Fields().Get(j))
		}
		fields(m.Messages(), visit)
	}
}

func TestContract_NoFieldIsAKeyword(t *testing.T) {
	var seen int
	for _, f := range contract(t) {
		fields(f.Messages(), func(d protoreflect.FieldDescriptor) {
			seen++
			camel := lowerCamel(string(d.Name()))
			for language, words := range keywords {
				if list := strings.Fields(words); slices.Contains(list, string(d.Name())) || slices.Contains(list, camel) {
					t.Errorf("%s is a keyword of %s", d.FullName(), language)
				}
			}
		})
	}
	if seen < 200 {
		t.Errorf("looked at %d fields", seen)
	}
}

func lowerCamel(name string) string {
	parts := strings.Split(name, "_")
	for i, p := range parts[1:] {
		parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
	}
	return strings.Join(parts, "")
}

// Languages with one prefix for everything have one name space for all packages.
func TestContract_NoShortNameTwice(t *testing.T) {
	first := map[string]protoreflect.FullName{}
	note := func(d protoreflect.Descriptor) {
		key := strings.ToLower(string(d.Name()))
		if other, taken := first[key]; taken {
			t.Errorf("%s and %s have one short name", other, d.FullName())
		}
		first[key] = d.FullName()
	}
	bases := map[string]string{}
	for _, f := range contract(t) {
		for i := range f.Messages().Len() {
			note(f.Messages().Get(i))
		}
		for i := range f.Enums().Len() {
			note(f.Enums().Get(i))
		}
		for i := range f.Services().Len() {
			note(f.Services().Get(i))
		}
		base := strings.ReplaceAll(filepath.Base(f.Path()), "_", "")
		if bases[base] != "" {
			t.Errorf("%s and %s have one name", bases[base], f.Path())
		}
		bases[base] = f.Path()
	}
}

func TestContract_EveryFileHasItsOptions(t *testing.T) {
	for _, f := range contract(t) {
		o, _ := f.Options().(*descriptorpb.FileOptions)
		area := strings.Split(string(f.Package()), ".")[1]
		title := strings.ToUpper(area[:1]) + area[1:]
		for option, is := range map[string][2]string{
			"go_package":             {o.GetGoPackage(), "github.com/trunkline/trunkline/gen/go/trunkline/" + area + "/v1;" + area + "v1"},
			"java_package":           {o.GetJavaPackage(), "io.trunkline." + area + ".v1"},
			"csharp_namespace":       {o.GetCsharpNamespace(), "Trunkline." + title + ".V1"},
			"php_namespace":          {o.GetPhpNamespace(), `Trunkline\` + title + `\V1`},
			"php_metadata_namespace": {o.GetPhpMetadataNamespace(), `Trunkline\` + title + `\V1\Metadata`},
			"ruby_package":           {o.GetRubyPackage(), "Trunkline::" + title + "::V1"},
			"objc_class_prefix":      {o.GetObjcClassPrefix(), "TRL"},
			"swift_prefix":           {o.GetSwiftPrefix(), "Trunkline"},
		} {
			if is[0] != is[1] {
				t.Errorf("%s: %s is %q, not %q", f.Path(), option, is[0], is[1])
			}
		}
		if !o.GetJavaMultipleFiles() || !strings.HasSuffix(o.GetJavaOuterClassname(), "Proto") {
			t.Errorf("%s: java_multiple_files %t, java_outer_classname %q", f.Path(), o.GetJavaMultipleFiles(), o.GetJavaOuterClassname())
		}
	}
}

// Nobody needs options of ours, or buf, to generate a client.
func TestContract_ABareProtocRunIsEnough(t *testing.T) {
	for language, ending := range map[string]string{
		"cpp": ".pb.cc", "csharp": ".cs", "java": ".java", "kotlin": ".kt", "objc": ".pbobjc.m", "php": ".php", "pyi": "_pb2.pyi",
		"python": "_pb2.py", "ruby": "_pb.rb",
	} {
		t.Run(language, func(t *testing.T) {
			out := t.TempDir()
			protoc(t, "--"+language+"_out="+out)
			atLeast(t, out, ending, len(sources(t)))
		})
	}
	t.Run("go", func(t *testing.T) {
		tools := t.TempDir()
		build := exec.CommandContext(t.Context(), "go", "build", "-modfile=../.ci/tools/go.mod", "-o", tools,
			"google.golang.org/protobuf/cmd/protoc-gen-go", "google.golang.org/grpc/cmd/protoc-gen-go-grpc")
		if b, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build the generators: %v\n%s", err, b)
		}
		t.Setenv("PATH", tools+string(os.PathListSeparator)+os.Getenv("PATH"))
		out := t.TempDir()
		protoc(t, "--go_out="+out, "--go-grpc_out="+out)
		atLeast(t, filepath.Join(out, "github.com/trunkline/trunkline/gen/go/trunkline"), ".pb.go", len(sources(t)))
	})
}

// atLeast fails the test when fewer files with an ending were written.
func atLeast(tb testing.TB, folder, ending string, want int) {
	tb.Helper()
	found := 0
	testkit.Check(tb, filepath.WalkDir(folder, func(at string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(at, ending) {
			found++
		}
		return err
	}))
	if found < want {
		tb.Errorf("%d files end with %s, want %d", found, ending, want)
	}
}
