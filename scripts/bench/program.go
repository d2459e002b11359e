package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// program is a hello, and what a person would type for it on a machine that has the image's packages and nothing of ours.
type program struct {
	name     string // of the row
	language string
	file     string
	code     string // prints "hello NONCE": each run may be another program, which no cache of artifacts has seen
	bareCode string // instead of code where bare differs
	bare     string // commands, in the folder of the file
	compiled bool
	note     string
}

const roslyn = "dotnet exec /usr/lib/runtools/csharp/roslyn/csc.dll -noconfig -nologo @/usr/lib/runtools/csharp/csc.rsp -out:Main.dll Main.cs"

const cppBits = "#include <bits/stdc++.h>\n\nint main() {\n\tstd::cout << \"hello \" << NONCE << \"\\n\";\n}\n"

// programs are the rows of the language table.
var programs = []program{
	{name: "bash", language: "bash", file: "main.sh", code: "echo hello NONCE\n", bare: "bash main.sh"},
	{name: "python", language: "python", file: "main.py", code: "print('hello', NONCE)\n", bare: "python3 main.py"},
	{name: "javascript", language: "javascript", file: "main.js", code: "console.log('hello', NONCE);\n", bare: "node main.js"},
	{name: "typescript", language: "typescript", file: "main.ts", code: typescript,
		bare: "node --enable-source-maps --require=/usr/lib/runtools/typescript/preload.js main.ts",
		note: "whole TypeScript, enums and decorators included; the image's transpiler is the quickest such"},
	{name: "typescript, types stripped", language: "typescript", file: "main.ts", code: typescript, bare: "node main.ts",
		note: "Node's own, which refuses enums, namespaces and parameter properties: less than what we run"},
	{name: "ruby", language: "ruby", file: "main.rb", code: "puts \"hello #{NONCE}\"\n", bare: "ruby main.rb"},
	{name: "java", language: "java", file: "Main.java", compiled: true, bare: "java Main.java",
		code: "public class Main {\n    public static void main(String[] args) {\n        System.out.println(\"hello \" + NONCE);\n    }\n}\n"},
	{name: "csharp", language: "csharp", file: "Main.cs", compiled: true, code: "Console.WriteLine($\"hello {NONCE}\");\n",
		bare: roslyn + " && dotnet exec --runtimeconfig /usr/lib/runtools/csharp/Main.runtimeconfig.json Main.dll",
		note: "the compiler that `dotnet build` calls, with its options, without what it does around it"},
	{name: "c", language: "c", file: "main.c", compiled: true, bare: "gcc-13 -O2 main.c -o main && ./main",
		code: "#include <stdio.h>\n\nint main(void) {\n\tprintf(\"hello %d\\n\", NONCE);\n}\n"},
	{name: "c++ iostream", language: "cpp", file: "main.cpp", compiled: true, bare: "g++-13 -O2 -std=gnu++20 main.cpp -o main && ./main",
		code: "#include <iostream>\n\nint main() {\n\tstd::cout << \"hello \" << NONCE << \"\\n\";\n}\n"},
	{name: "c++ bits/stdc++.h", language: "cpp", file: "main.cpp", compiled: true, code: cppBits, bareCode: "static int before;\n" + cppBits,
		bare: "g++-13 -O2 -std=gnu++20 main.cpp -o main && ./main",
		note: "as on a stock machine: GCC takes no precompiled header after a declaration, so bare compiles with one ahead of the include"},
	{name: "c++ bits/stdc++.h, bare has our PCH", language: "cpp", file: "main.cpp", compiled: true, code: cppBits,
		bare: "g++-13 -O2 -std=gnu++20 -pthread main.cpp -o main && ./main"},
	{name: "go", language: "go", file: "main.go", compiled: true, bare: "/usr/lib/go-1.22/bin/go run main.go",
		code: "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tfmt.Println(\"hello\", NONCE)\n}\n", note: "std is in the cache already"},
	{name: "rust", language: "rust", file: "main.rs", compiled: true, bare: "rustc -O main.rs && ./main",
		code: "fn main() {\n    println!(\"hello {}\", NONCE);\n}\n"},
}

const typescript = "const n: number = NONCE;\nconsole.log('hello', n);\n"

func find(name string) (*program, error) {
	var names []string
	for i := range programs {
		if programs[i].name == name {
			return &programs[i], nil
		}
		names = append(names, programs[i].name)
	}
	return nil, fmt.Errorf("no program %q, there are: %s", name, strings.Join(names, ", "))
}

var lastNonce atomic.Int64

// fresh is a number that this machine's caches have not seen. It begins at another place in every run of bench.
func fresh() int64 {
	lastNonce.CompareAndSwap(0, time.Now().Unix()%1_000_000*1000)
	return lastNonce.Add(1)
}

// runBare carries the program out in a folder of bare's, outside any jail.
func (p *program) runBare(b *bare, folder string, nonce int64) (total time.Duration, err error) {
	code := p.code
	if p.bareCode != "" {
		code = p.bareCode
	}
	if err := b.write(folder, p.file, withNonce(code, nonce)); err != nil {
		return 0, err
	}
	var out string
	for command := range strings.SplitSeq(p.bare, " && ") {
		var took time.Duration
		if out, took, _, err = b.run(folder, strings.Fields(command)...); err != nil {
			return 0, err
		}
		total += took
	}
	return total, p.check(nonce, out)
}

// runHTTP carries the program out over the API.
func (p *program) runHTTP(s *server, nonce int64) (*answer, error) {
	a, err := s.execute(map[string]any{
		"language": p.language, "ephemeral": true,
		"files": []map[string]string{{"name": p.file, "content": withNonce(p.code, nonce)}},
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	if a.Run.Status != "OK" {
		return nil, fmt.Errorf("%s over HTTP: status %s: %s", p.name, a.Run.Status, a.Run.Stderr)
	}
	return a, p.check(nonce, a.Run.Stdout)
}

func withNonce(code string, nonce int64) string {
	return strings.ReplaceAll(code, "NONCE", strconv.FormatInt(nonce, 10))
}

// check tells an answer of this very program from one of a cache gone wrong.
func (p *program) check(nonce int64, out string) error {
	if want := fmt.Sprintf("hello %d\n", nonce); out != want {
		return fmt.Errorf("%s printed %q, want %q", p.name, out, want)
	}
	return nil
}
