package e2e

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// addNuget puts packages into the mirror. No registry of them need be reached: the image's compiler makes what is in them.
//
//	Words     1.0.0, 1.1.0, and 2.0.0-rc.1, which only who asks for it gets
//	Greeting  1.0.0, which needs Words 1.0.0 or newer
//	Old       1.0.0, for another framework than ours
//
// and a real one of Debian's, Newtonsoft.Json 6.0.8, which is for .NET Framework.
func addNuget(t *testing.T, mirror string) {
	t.Helper()
	built := strings.Fields(output(t, request{"language": "csharp", "code": `
var compiler = System.Reflection.Assembly.LoadFrom("/usr/lib/runtools/csharp/roslyn/csc.dll").EntryPoint!;
Build("hello", "Words", """public static class Words { public static string Hello => "hello"; }""");
Build("HELLO", "Words", """public static class Words { public static string Hello => "HELLO"; }""");
Build("greeting", "Greeting", """public static class Greeting { public static string To(string who) => Words.Hello + ", " + who; }""", "-r:hello/Words.dll");
void Build(string folder, string name, string source, params string[] more)
{
    Directory.CreateDirectory(folder);
    File.WriteAllText(name + ".cs", source);
    compiler.Invoke(null, [(string[])["-noconfig", "-nologo", "-target:library", "-r:/usr/lib/runtools/csharp/ref/net10.0/System.Runtime.dll",
        $"-out:{folder}/{name}.dll", .. more, name + ".cs"]]);
    Console.WriteLine(Convert.ToBase64String(File.ReadAllBytes($"{folder}/{name}.dll")));
}`}))
	const needs = `<group targetFramework=".NETFramework4.6.2"><dependency id="Nothing" version="1.0.0" /></group>` +
		`<group targetFramework=".NETStandard2.0"><dependency id="Words" version="1.0.0" /><dependency id="System.Memory" version="4.5.5" /></group>`
	var files []string
	for _, p := range []struct{ id, version, dependencies, path, dll string }{
		{"Words", "1.0.0", "", "lib/netstandard2.0/Words.dll", built[0]},
		{"Words", "1.1.0", "", "lib/net8.0/Words.dll", built[1]},
		{"Words", "2.0.0-rc.1", "", "lib/net8.0/Words.dll", built[1]},
		{"Greeting", "1.0.0", needs, "lib/netstandard2.0/Greeting.dll", built[2]},
		{"Old", "1.0.0", "", "lib/uap10.0/Old.dll", built[0]},
	} {
		var nupkg bytes.Buffer
		z := zip.NewWriter(&nupkg)
		dll, err := base64.StdEncoding.DecodeString(p.dll)
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{
			p.path: dll,
			p.id + ".nuspec": fmt.Appendf(nil, `<?xml version="1.0" encoding="utf-8"?><package xmlns="http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd">`+
				`<metadata><id>%s</id><version>%s</version><dependencies>%s</dependencies></metadata></package>`, p.id, p.version, p.dependencies),
			"[Content_Types].xml":       nil,
			"build/" + p.id + ".props":  []byte("<Project/>"),
			"../../../../tmp/elsewhere": nil,
		} {
			if f, err := z.Create(name); err != nil {
				t.Fatal(err)
			} else if _, err := f.Write(content); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), p.id+"."+p.version+".nupkg")
		if err := os.WriteFile(file, nupkg.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	const real = "/usr/share/nupkg/Newtonsoft.Json.6.0.8.nupkg"
	if _, err := os.Stat(real); err != nil {
		t.Fatal("make test-deps: ", err)
	}
	fillMirror(t, mirror, "nuget", append(files, real)...)
}

// testNugetChanges changes the mirror while it serves: a program of packages is never one that was compiled with those of a minute ago.
func testNugetChanges(t *testing.T, s *stack, mirror string) {
	q := request{"language": "csharp", "code": "#:package Words@*\nConsole.WriteLine(Words.Hello);\n"}
	want := func(status, stdout string) {
		t.Helper()
		a := s.execute(t, s.key, q)
		if a.Run.Status != status || a.Run.Stdout != stdout || a.Compile.Cached {
			t.Errorf("want %s %q, compiled anew: %s", status, stdout, a)
		}
	}
	words := filepath.Join(mirror, "nuget", "words")
	version := func(n string) string { return filepath.Join(words, n) }
	newest, hidden := version("1.1.0"), version("hidden") // no version, so nobody's
	if err := os.Rename(newest, hidden); err != nil {
		t.Fatal(err)
	}
	want("OK", "hello\n")
	want("OK", "hello\n")
	if err := os.Rename(hidden, newest); err != nil {
		t.Fatal(err)
	}
	want("OK", "HELLO\n")
	want("OK", "HELLO\n")
	if err := os.RemoveAll(words); err != nil {
		t.Fatal(err)
	}
	want("CE", "")
}

// A C# program names its packages in its first lines, and has them and what they need, whoever compiled and whatever was parked.
func testNuget(t *testing.T, s *stack) {
	const program = "%s\nConsole.WriteLine(Greeting.To(\"world\"));\n"
	for lines, want := range map[string]string{
		"#:package Greeting@1.0.0":                                      "hello, world\n", // the oldest Words that does
		"#!/usr/bin/env dotnet\n#:package greeting":                     "hello, world\n",
		"// Words\n/* too\n*/\n#:package Words@1.*\n#:package Greeting": "HELLO, world\n",
		"#:package Greeting@0.5\n#:package Words@[2.0.0-rc.1]":          "HELLO, world\n",
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			q := request{"language": "csharp", "code": fmt.Sprintf(program, lines)}
			a := s.execute(t, s.key, q)
			if wantStdout(t, a, want); len(a.Run.Violations)+len(a.Compile.Violations) > 0 {
				t.Errorf("denied calls: %s", a)
			}
			// No parked program: its environment is another.
			wantStdout(t, s.execute(t, s.key, q.with(request{"env": map[string]string{"X": "y"}})), want)
		})
	}
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		a := s.execute(t, s.key, request{"language": "csharp", "code": `#:package Newtonsoft.Json@6.0.8
using Newtonsoft.Json.Linq;
var o = JObject.Parse("{'pears': [1, 2.5, null], 'who': 'Ä'}");
o["sum"] = o["pears"]!.Sum(v => (double?)v);
Console.WriteLine(o.ToString(Newtonsoft.Json.Formatting.None));
`})
		wantStdout(t, a, "{\"pears\":[1,2.5,null],\"who\":\"Ä\",\"sum\":3.5}\n")
		if d := a.Compile.Diagnostics; len(d) != 1 || d[0].Code != "NU1701" || d[0].Severity != "warning" || d[0].Line != 1 {
			t.Errorf("want it said that this is for .NET Framework: %s", a)
		}
	})
	for lines, want := range map[string]struct {
		code, says string
		line       int
	}{
		"\n#:package None@1.0.0":                       {"NU1101", "Unable to find package None", 2},
		"#:package Words@1.2.0":                        {"", "", 0}, // the rc is newer
		"#:package Words@3.*":                          {"NU1102", "has 1.0.0, 1.1.0, 2.0.0-rc.1", 1},
		"#:package Words@[1.0.0]\n#:package Words@1.1": {"NU1102", "with version ([1.0.0] and >= 1.1)", 1},
		"#:package Old@1.0.0":                          {"NU1202", "It supports uap10.0", 1},
		"#:package ../words@1.0.0":                     {"RT0001", "want #:package Name@Version", 1},
		"#:sdk Microsoft.NET.Sdk.Web":                  {"RT0001", "only #:package", 1},
		"#:package Words\n;\n#:package Old":            {"CS9297", "cannot be after first token", 3},
	} {
		t.Run(want.code, func(t *testing.T) {
			t.Parallel()
			a := s.execute(t, s.key, request{"language": "csharp", "code": lines + "\nConsole.WriteLine();\n"})
			if want.code == "" {
				wantStatus(t, a, "OK")
				return
			}
			wantStatus(t, a, "CE")
			if d := a.Compile.Diagnostics; len(d) == 0 || d[0].Code != want.code || d[0].Line != want.line || !strings.Contains(d[0].Message, want.says) {
				t.Errorf("%s: want %v: %s", lines, want, a)
			}
		})
	}
}
