package e2e

import "testing"

type diagnostic struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Severity string `json:"severity"`
	Message  string `json:"message"`
	Code     string `json:"code"`
}

// Each language's own words lead to the place, in the stage that said them; a program that is all right has none.
func TestDiagnostics(t *testing.T) {
	for name, c := range map[string]struct {
		language, code string
		compile, run   diagnostic // the first; message is not compared
	}{
		"c":                {"c", "int main(void) {\n  return x;\n}", diagnostic{File: "main.c", Line: 2, Column: 10, Severity: "error"}, diagnostic{}},
		"c, warning":       {"c", "int main(void) {\n  char *s = 1;\n  return !s;\n}", diagnostic{File: "main.c", Line: 2, Column: 13, Severity: "warning", Code: "-Wint-conversion"}, diagnostic{}},
		"cpp":              {"cpp", "int main() {\n  return x;\n}", diagnostic{File: "main.cpp", Line: 2, Column: 10, Severity: "error"}, diagnostic{}},
		"go":               {"go", "package main\n\nfunc main() {\n\tx := 1\n}", diagnostic{File: "main.go", Line: 4, Column: 2, Severity: "error"}, diagnostic{}},
		"go, panic":        {"go", "package main\n\nfunc main() {\n\tpanic(1)\n}", diagnostic{}, diagnostic{File: "main.go", Line: 4, Severity: "error"}},
		"rust":             {"rust", "fn main() {\n    let x: i32 = \"\";\n}", diagnostic{File: "main.rs", Line: 2, Column: 18, Severity: "error", Code: "E0308"}, diagnostic{}},
		"rust, panic":      {"rust", "fn main() {\n    panic!(\"x\");\n}", diagnostic{}, diagnostic{File: "main.rs", Line: 2, Column: 5, Severity: "error"}},
		"java":             {"java", "class Main {\n  int x = \"\";\n}", diagnostic{File: "Main.java", Line: 2, Severity: "error"}, diagnostic{}},
		"java, exception":  {"java", "class Main {\n  public static void main(String[] a) {\n    a[7] = a[0];\n  }\n}", diagnostic{}, diagnostic{File: "Main.java", Line: 3, Severity: "error"}},
		"csharp":           {"csharp", "class P {\n  static void Main() { int x = \"\"; }\n}", diagnostic{File: "Main.cs", Line: 2, Column: 32, Severity: "error", Code: "CS0029"}, diagnostic{}},
		"csharp, exc":      {"csharp", "class P {\n  static void Main(string[] a) => a[7].Trim();\n}", diagnostic{}, diagnostic{File: "Main.cs", Line: 2, Severity: "error"}},
		"python":           {"python", "x = 1\nprint(x", diagnostic{}, diagnostic{File: "main.py", Line: 2, Severity: "error"}},
		"python, exc":      {"python", "import json\n\njson.loads('{')", diagnostic{}, diagnostic{File: "main.py", Line: 3, Severity: "error"}},
		"javascript":       {"javascript", "let x = ;", diagnostic{}, diagnostic{File: "main.js", Line: 1, Column: 9, Severity: "error"}},
		"javascript, exc":  {"javascript", "\nnull.x", diagnostic{}, diagnostic{File: "main.js", Line: 2, Column: 6, Severity: "error"}},
		"typescript":       {"typescript", "let x: number = 1\nlet = ;", diagnostic{}, diagnostic{File: "main.ts", Line: 2, Column: 7, Severity: "error"}},
		"typescript, exc":  {"typescript", "interface A {}\n(null as any).x", diagnostic{}, diagnostic{File: "main.ts", Line: 2, Column: 15, Severity: "error"}},
		"ruby":             {"ruby", "x = 1\nend", diagnostic{}, diagnostic{File: "main.rb", Line: 2, Severity: "error"}},
		"ruby, exc":        {"ruby", "x = 1\nnil.foo", diagnostic{}, diagnostic{File: "main.rb", Line: 2, Severity: "error"}},
		"bash":             {"bash", "echo\nfi", diagnostic{}, diagnostic{File: "main.sh", Line: 2, Severity: "error"}},
		"all right":        {"c", "int main(void) {}", diagnostic{}, diagnostic{}},
		"all right, Bash":  {"bash", "echo word >&2", diagnostic{}, diagnostic{}},
		"of another place": {"bash", "echo /etc/passwd:1:1: error: x >&2", diagnostic{}, diagnostic{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := func(s *stage) (d diagnostic) {
				if s != nil && len(s.Diagnostics) > 0 {
					d = s.Diagnostics[0]
					if d.Message == "" {
						t.Errorf("no message: %+v", d)
					}
					d.Message = ""
				}
				return d
			}
			a := execute(t, program(c.language, c.code))
			if compile, run := first(a.Compile), first(&a.Run); compile != c.compile || run != c.run {
				t.Errorf("compile %+v, want %+v\nrun %+v, want %+v\nin %s", compile, c.compile, run, c.run, a)
			}
		})
	}
}
