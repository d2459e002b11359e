package e2e

// hellos write MARKER and a newline.
var hellos = map[string]string{
	"bash":       `echo MARKER`,
	"c":          "#include <stdio.h>\nint main(void) { puts(\"MARKER\"); }",
	"cpp":        "#include <iostream>\nint main() { std::cout << \"MARKER\\n\"; }",
	"csharp":     `System.Console.WriteLine("MARKER");`,
	"go":         "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"MARKER\") }",
	"java":       "public class Main { public static void main(String[] args) { System.out.println(\"MARKER\"); } }",
	"javascript": `console.log("MARKER")`,
	"python":     `print("MARKER")`,
	"ruby":       `puts "MARKER"`,
	"rust":       `fn main() { println!("MARKER") }`,
	"typescript": "const m: string = \"MARKER\"\nconsole.log(m)",
}
