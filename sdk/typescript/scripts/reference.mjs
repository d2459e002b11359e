// Writes the API reference, Markdown, to standard output: what src/index.ts exports, with its doc comments.
import { fileURLToPath } from "node:url";
import ts from "typescript";

const index = fileURLToPath(new URL("../src/index.ts", import.meta.url));
const program = ts.createProgram([index], { module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022, types: [] });
const checker = program.getTypeChecker();

const heading = { ClassDeclaration: "class", InterfaceDeclaration: "interface", TypeAliasDeclaration: "type", FunctionDeclaration: "function", VariableDeclaration: "constant" };

function describe(symbol) {
  const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const node = target.declarations[0];
  const kind = heading[ts.SyntaxKind[node.kind]];
  const parent = node.heritageClauses?.map((clause) => ` ${clause.getText()}`).join("") ?? "";
  const out = [`## ${kind} ${symbol.name}${parent}`, ""];
  if (kind === "function" || kind === "type") {
    out.push("```ts", signature(node), "```", "");
  }
  out.push(comment(node, true), "");
  for (const member of node.members ?? []) {
    if (isPublic(member)) {
      out.push(...describeMember(member, symbol.name));
    }
  }
  return out;
}

/** What a class can do has a heading; a field is an entry of a list. */
function describeMember(member, owner) {
  if (ts.isConstructorDeclaration(member)) {
    return [`### new ${owner}(${member.parameters.map((p) => p.getText()).join(", ")})`, "", comment(member), ""];
  }
  if (ts.isMethodDeclaration(member)) {
    return [`### ${member.name.getText()}`, "", "```ts", signature(member), "```", "", comment(member, !ts.isComputedPropertyName(member.name)), ""];
  }
  const whole = member.type?.getText() ?? checker.typeToString(checker.getTypeAtLocation(member));
  const type = member.questionToken ? whole.replace(/ \| undefined$/, "") : whole;
  const text = comment(member).replace(/\n/g, "\n  ");
  return [`- **\`${member.name.getText()}${member.questionToken ? "?" : ""}\`**: \`${type}\`${text && ` - ${text}`}`];
}

function isPublic(member) {
  const modifiers = ts.getCombinedModifierFlags(member);
  const inherited = modifiers & ts.ModifierFlags.Override;
  const internal = ts.getJSDocTags(member).some((tag) => tag.tagName.text === "internal");
  return !internal && !inherited && !(modifiers & ts.ModifierFlags.Private) && !(member.name && ts.isPrivateIdentifier(member.name));
}

/** A declaration without its comment and its body. */
function signature(node) {
  const end = node.body ? node.body.getStart() : node.getEnd();
  return node.getSourceFile().text.slice(node.getStart(), end).replace(/^export |^async /g, "").replace(/\basync /, "").trim();
}

/** What is exported, and what can be called, says what it does. */
function comment(node, required) {
  const docs = ts.getJSDocCommentsAndTags(node.kind === ts.SyntaxKind.VariableDeclaration ? node.parent.parent : node);
  const text = docs.map((doc) => ts.getTextOfJSDocComment(doc.comment) ?? "").join("\n");
  if (required && text === "") {
    console.error(`${node.getSourceFile().fileName}: ${node.name?.getText() ?? "constructor"} is exported and has no comment`);
    process.exit(1);
  }
  return text.replace(/\{@link (\S+?)\}/g, "`$1`");
}

const lines = ["# @runtools/sdk", "", "Made from the comments of the source by `make docs`.", ""];
for (const symbol of checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(index)))) {
  lines.push(...describe(symbol));
}
console.log(lines.join("\n").replace(/\n+(?=##)/g, "\n\n").replace(/\n{3,}/g, "\n\n").trim());
