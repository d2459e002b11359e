const o="runtools.key";function d(){return sessionStorage.getItem(o)??localStorage.getItem(o)??""}function _(n,e){v(),(e?localStorage:sessionStorage).setItem(o,n)}function v(){sessionStorage.removeItem(o),localStorage.removeItem(o)}function L(){const n=new URLSearchParams(location.hash.slice(1)),e=n.get("key");if(e===null)return;n.delete("key"),history.replaceState(null,"",location.pathname+location.search+(n.size>0?`#${n}`:"")),/^[!-~]+$/.test(e)&&e!==d()&&confirm("This link brings an API key. Whoever has that key can see what you run with it. Use it in this tab?")&&sessionStorage.setItem(o,e)}function V(n){const e=document.querySelector("#key-dialog"),t=e.querySelector("input[name=key]"),a=e.querySelector("input[name=remember]");return e.querySelector("#key-why").textContent=n,t.value="",a.checked=localStorage.getItem(o)!==null,e.open||e.showModal(),new Promise(s=>{e.querySelector("form").onsubmit=l=>{l.preventDefault();const m=t.value.trim();if(!/^[!-~]+$/.test(m)){t.setCustomValidity("want the key as it was shown, without spaces"),t.reportValidity();return}_(m,a.checked),e.close("given")},t.oninput=()=>t.setCustomValidity(""),e.querySelector("button[type=button]").onclick=()=>e.close(""),e.onclose=()=>s(e.returnValue==="given"),e.returnValue=""})}const y=`using System;
using System.Linq;

// A bar for each line "name number" of the input. Name what to leave out in the arguments.
while (Console.ReadLine() is string line)
{
    var (name, number) = line.Split(' ') switch { var parts => (parts[0], int.Parse(parts[1])) };
    if (!args.Contains(name))
    {
        Console.WriteLine($"{name,-8} \\u001b[35m{string.Concat(Enumerable.Repeat("█", number))}\\u001b[0m {number}");
    }
}
`,w=`import java.util.List;
import java.util.Scanner;

// A bar for each line "name number" of the input. Name what to leave out in the arguments.
public class Main {
    record Row(String name, int number) {
        String bar() {
            return "%-8s \\033[34m%s\\033[0m %d".formatted(name, "█".repeat(number), number);
        }
    }

    public static void main(String[] args) {
        var input = new Scanner(System.in);
        while (input.hasNext()) {
            var row = new Row(input.next(), input.nextInt());
            if (!List.of(args).contains(row.name())) {
                System.out.println(row.bar());
            }
        }
    }
}
`,k=`#include <stdio.h>
#include <string.h>

/* A bar for each line "name number" of the input. Name what to leave out in the arguments. */
int main(int argc, char **argv)
{
    char name[32];
    int number;

    while (scanf("%31s %d", name, &number) == 2) {
        int skip = 0;
        for (int i = 1; i < argc; i++)
            skip |= strcmp(argv[i], name) == 0;
        if (skip)
            continue;
        printf("%-8s \\033[35m", name);
        for (int i = 0; i < number; i++)
            fputs("█", stdout);
        printf("\\033[0m %d\\n", number);
    }
}
`,S=`#include <iomanip>
#include <iostream>
#include <set>
#include <string>

// A bar for each line "name number" of the input. Name what to leave out in the arguments.
int main(int argc, char **argv)
{
    const std::set<std::string> left(argv + 1, argv + argc);
    std::string name;
    for (int number; std::cin >> name >> number;) {
        if (left.contains(name))
            continue;
        std::cout << std::left << std::setw(8) << name << " \\033[36m";
        for (int i = 0; i < number; i++)
            std::cout << "█";
        std::cout << "\\033[0m " << number << '\\n';
    }
}
`,$=`package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// A bar for each line "name number" of the input. Name what to leave out in the arguments.
func main() {
	var name string
	var number int
	for {
		if n, _ := fmt.Scan(&name, &number); n < 2 {
			return
		}
		if !slices.Contains(os.Args[1:], name) {
			fmt.Printf("%-8s \\033[36m%s\\033[0m %d\\n", name, strings.Repeat("█", number), number)
		}
	}
}
`,x=`import { createInterface } from "node:readline";

// A bar for each line "name number" of the input. Name what to leave out in the arguments.
for await (const line of createInterface({ input: process.stdin })) {
  const [name, number] = line.split(" ");
  if (!process.argv.slice(2).includes(name)) {
    console.log(\`\${name.padEnd(8)} \\x1b[33m\${"█".repeat(number)}\\x1b[0m \${number}\`);
  }
}
`,N=`import sys

# A bar for each line "name number" of the input. Name what to leave out in the arguments.
for line in sys.stdin:
    name, number = line.split()
    if name not in sys.argv[1:]:
        print(f"{name:8} \\033[36m{'█' * int(number)}\\033[0m {number}")
`,A=`# A bar for each line "name number" of the input. Name what to leave out in the arguments.
while (line = $stdin.gets)
  name, number = line.split
  next if ARGV.include?(name)

  puts format("%-8s \\e[31m%s\\e[0m %d", name, "█" * number.to_i, number)
end
`,I=`use std::io;

// A bar for each line "name number" of the input. Name what to leave out in the arguments.
fn main() {
    let left: Vec<String> = std::env::args().skip(1).collect();
    for line in io::stdin().lines().map_while(Result::ok) {
        let Some((name, number)) = line.split_once(' ') else { continue };
        let Ok(count) = number.parse::<usize>() else { continue };
        if !left.iter().any(|l| l == name) {
            println!("{name:8} \\x1b[33m{}\\x1b[0m {count}", "█".repeat(count));
        }
    }
}
`,C=`# A bar for each line "name number" of the input. Name what to leave out in the arguments.
while read -r name number; do
  [[ " $* " == *" $name "* ]] && continue
  printf -v bar '%*s' "$number" ''
  printf '%-8s \\e[32m%s\\e[0m %d\\n' "$name" "\${bar// /█}" "$number"
done
`,R=`import { readFileSync } from "node:fs";

interface Row {
  name: string;
  count: number;
}

// A bar for each line "name number" of the input. Name what to leave out in the arguments.
const rows: Row[] = readFileSync(0, "utf8")
  .trim()
  .split("\\n")
  .map((line) => {
    const [name = "", count] = line.split(" ");
    return { name, count: Number(count) };
  });
const left = new Set(process.argv.slice(2));
for (const { name, count } of rows.filter((row) => !left.has(row.name))) {
  console.log(\`\${name.padEnd(8)} \\x1b[34m\${"█".repeat(count)}\\x1b[0m \${count}\`);
}
`,q=Object.assign({"./_samples/Main.cs":y,"./_samples/Main.java":w,"./_samples/main.c":k,"./_samples/main.cpp":S,"./_samples/main.go":$,"./_samples/main.js":x,"./_samples/main.py":N,"./_samples/main.rb":A,"./_samples/main.rs":I,"./_samples/main.sh":C,"./_samples/main.ts":R}),E=[["python","Python","main.py"],["javascript","JavaScript","main.js"],["typescript","TypeScript","main.ts"],["bash","Bash","main.sh"],["c","C","main.c"],["cpp","C++","main.cpp"],["go","Go","main.go"],["rust","Rust","main.rs"],["java","Java","Main.java"],["csharp","C#","Main.cs"],["ruby","Ruby","main.rb"]],j=E.map(([n,e,t])=>({name:n,label:e,main:t,sample:q[`./_samples/${t}`]??""}));function P(n){return j.find(e=>e.name===n)??{name:n,label:n,main:"main",sample:""}}const K=`apples 12
pears 7
plums 19
`,u="runtools.theme";function b(){document.documentElement.style.colorScheme=localStorage.getItem(u)??"light dark"}function U(n){const e=matchMedia("(prefers-color-scheme: dark)"),t=()=>(localStorage.getItem(u)??(e.matches?"dark":"light"))==="dark",a=()=>n.setAttribute("aria-label",t()?"Use light colours":"Use dark colours");b(),a(),e.addEventListener("change",a),n.addEventListener("click",()=>{const s=t()?"light":"dark";s===(e.matches?"dark":"light")?localStorage.removeItem(u):localStorage.setItem(u,s),b(),a()})}const F={auth:"checking the key",queue:"waiting for the session, a slot, and the same compilation of another request",checkout:"taking a sandbox",files:"placing the files",compile:"compiling",run:"the program",collect:"the last of the output",rest:"network, this browser, and what no phase counts"};function M(n){return n>=1e4?`${(n/1e3).toFixed(1)} s`:n>=1e3?`${(n/1e3).toFixed(2)} s`:n>=100?`${n.toFixed(0)} ms`:n>=10?`${n.toFixed(1)} ms`:`${n.toFixed(2)} ms`}function O(n,e,t){const a=Object.entries(e).filter(([i,r])=>r>0||i==="run"),s=a.reduce((i,[,r])=>i+r,0);a.push(["rest",Math.max(t-s,0)]);const l=Math.max(t,s,.001);let m=0;n.replaceChildren(...a.map(([i,r])=>{const p=document.createElement("li");p.title=F[i]??i;const g=document.createElement("span");g.textContent=i;const h=document.createElement("span");h.className="track";const c=document.createElement("span");c.className=`bar phase-${i}`,c.style.left=`${100*m/l}%`,c.style.width=`${100*r/l}%`,h.append(c);const f=document.createElement("span");return f.className="figure",f.textContent=M(r),p.append(g,h,f),m+=r,p}))}export{V as a,P as b,L as c,K as d,O as e,j as l,M as m,d as s,U as t};
