// The editor: CodeMirror in a shadow root, where it brings its styles as constructed style sheets, which the pages' policy allows.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { cpp } from "@codemirror/lang-cpp";
import { go } from "@codemirror/lang-go";
import { java } from "@codemirror/lang-java";
import { javascript } from "@codemirror/lang-javascript";
import { python } from "@codemirror/lang-python";
import { rust } from "@codemirror/lang-rust";
import { bracketMatching, HighlightStyle, indentOnInput, indentUnit, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { c as plainC, csharp } from "@codemirror/legacy-modes/mode/clike";
import { ruby } from "@codemirror/legacy-modes/mode/ruby";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import { type Diagnostic as Mark, lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorState, type Extension } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, keymap, lineNumbers } from "@codemirror/view";
import { tags as t } from "@lezer/highlight";
import type { Diagnostic } from "../../sdk/typescript/src/index.ts";

/** Syntax by a file's ending: a program's other files need not be in its language. */
const syntaxes: [ending: RegExp, syntax: () => Extension, indent: string][] = [
  [/\.py$/, python, "    "],
  [/\.[mc]?jsx?$/, () => javascript({ jsx: true }), "  "],
  [/\.[mc]?tsx?$/, () => javascript({ typescript: true }), "  "],
  [/\.(sh|bash)$/, () => StreamLanguage.define(shell), "  "],
  [/\.[ch]$/, () => StreamLanguage.define(plainC), "    "],
  [/\.(cc|cpp|cxx|hh|hpp)$/, cpp, "    "],
  [/\.go$/, go, "\t"],
  [/\.rs$/, rust, "    "],
  [/\.java$/, java, "    "],
  [/\.cs$/, () => StreamLanguage.define(csharp), "    "],
  [/\.rb$/, () => StreamLanguage.define(ruby), "  "],
];

const colours = HighlightStyle.define([
  { tag: [t.keyword, t.modifier, t.operatorKeyword, t.controlKeyword, t.definitionKeyword, t.moduleKeyword], color: "var(--syntax-keyword)" },
  { tag: [t.string, t.special(t.string), t.regexp, t.character], color: "var(--syntax-string)" },
  { tag: [t.number, t.bool, t.null, t.atom, t.escape], color: "var(--syntax-number)" },
  { tag: [t.comment, t.meta, t.processingInstruction], color: "var(--syntax-comment)" },
  { tag: [t.typeName, t.className, t.namespace, t.tagName], color: "var(--syntax-type)" },
  { tag: [t.function(t.variableName), t.function(t.propertyName), t.function(t.definition(t.variableName)), t.macroName], color: "var(--syntax-function)" },
  { tag: [t.definition(t.variableName), t.propertyName, t.standard(t.variableName)], color: "var(--syntax-name)" },
]);

const look = EditorView.theme({
  "&": { height: "100%", color: "var(--text)", backgroundColor: "var(--pane)", fontSize: "var(--code-size)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5" },
  ".cm-content": { caretColor: "var(--text)", paddingBottom: "3em" },
  ".cm-cursor": { borderLeftColor: "var(--text)", borderLeftWidth: "2px" },
  ".cm-gutters": { backgroundColor: "var(--pane)", color: "var(--faint)", border: "none" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--line)" },
  ".cm-activeLineGutter": { color: "var(--text)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { background: "var(--selection)" },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": { backgroundColor: "var(--selection)", outline: "1px solid var(--border-strong)" },
  ".cm-panels, .cm-tooltip": { backgroundColor: "var(--raised)", color: "var(--text)", border: "1px solid var(--border)" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
  ".cm-panel.cm-search": { padding: "6px 28px 6px 8px", fontFamily: "var(--sans)" },
  ".cm-panel.cm-search input, .cm-panel.cm-search button, .cm-panel.cm-search label": { fontSize: "12.5px", margin: "2px 6px 2px 0" },
  ".cm-panel.cm-search input[type=checkbox]": { margin: "0 4px 0 0", verticalAlign: "middle" },
  ".cm-panel.cm-search .cm-button, .cm-panel.cm-search .cm-textfield": { minHeight: "26px", borderRadius: "5px" },
  ".cm-panel.cm-search [name=close]": { minWidth: "24px", minHeight: "24px", fontSize: "18px", color: "inherit", margin: "0" },
  ".cm-textfield": { backgroundColor: "var(--pane)", color: "var(--text)", border: "1px solid var(--border-strong)" },
  ".cm-button": { backgroundImage: "none", backgroundColor: "var(--pane)", color: "var(--text)", border: "1px solid var(--border-strong)" },
  // CodeMirror draws these with images of data: URLs, which the pages' policy forbids.
  ".cm-lintRange": { backgroundImage: "none", textDecoration: "underline wavy 1px", textUnderlineOffset: "3px" },
  ".cm-lintRange-error": { textDecorationColor: "var(--bad)", backgroundImage: "none" },
  ".cm-lintRange-warning": { textDecorationColor: "var(--warn)", backgroundImage: "none" },
  ".cm-lintRange-info": { textDecorationColor: "var(--accent)", backgroundImage: "none" },
  ".cm-lint-marker": { content: "none", width: "8px", height: "8px", margin: "0.35em 0 0 2px", borderRadius: "50%" },
  ".cm-lint-marker-error": { content: "none", backgroundColor: "var(--bad)" },
  ".cm-lint-marker-warning": { content: "none", backgroundColor: "var(--warn)" },
  ".cm-lint-marker-info": { content: "none", backgroundColor: "var(--accent)" },
  ".cm-gutter-lint": { width: "14px" },
  ".cm-diagnostic": { fontFamily: "var(--mono)", whiteSpace: "pre-wrap" },
  ".cm-searchMatch": { backgroundColor: "var(--selection)" },
});

export class Editor {
  readonly view: EditorView;
  private current = "";
  private readonly states = new Map<string, EditorState>();

  /** `changed` is told of every edit. */
  constructor(
    parent: HTMLElement,
    private readonly changed: (file: string, content: string) => void,
  ) {
    const root = parent.attachShadow({ mode: "open" });
    this.view = new EditorView({ root, parent: root as unknown as Element });
  }

  /** Shows a file as it was when it was last shown; `content` is what it holds if it never was. */
  show(file: string, content: string): void {
    this.keep();
    this.current = file;
    this.view.setState(this.states.get(file) ?? this.open(file, content));
    this.view.contentDOM.setAttribute("aria-label", `Code of ${file}. Escape, then Tab, leaves the editor.`);
  }

  /** Forgets all files: those of another program come. */
  clear(): void {
    this.current = "";
    this.states.clear();
  }

  rename(from: string, to: string, content: string): void {
    this.keep();
    this.states.delete(from);
    if (this.current === from) {
      this.current = "";
      this.show(to, content); // its ending may mean another syntax
    }
  }

  close(file: string): void {
    this.states.delete(file);
    if (this.current === file) {
      this.current = "";
    }
  }

  focus(): void {
    this.view.focus();
  }

  /** Puts the cursor there. Lines and columns count from 1, and what is beyond the end means the end. */
  goTo(line: number, column: number): void {
    const { doc } = this.view.state;
    const at = doc.line(Math.min(Math.max(line, 1), doc.lines));
    const anchor = Math.min(at.from + Math.max(column, 1) - 1, at.to);
    this.view.dispatch({ selection: { anchor }, effects: EditorView.scrollIntoView(anchor, { y: "center" }) });
    this.view.focus();
  }

  /** Marks the lines of the file shown that a compiler complained of. */
  mark(diagnostics: Diagnostic[]): void {
    const { doc } = this.view.state;
    const marks = diagnostics
      .filter((d) => d.file === this.current && d.line !== undefined && d.line <= doc.lines)
      .map(({ line: number, column, severity, message, code }): Mark => {
        const line = doc.line(number!);
        const from = column === undefined ? line.from + (/^\s*/.exec(line.text)?.[0].length ?? 0) : Math.min(line.from + column - 1, line.to);
        const word = this.view.state.wordAt(from);
        return {
          from,
          to: word?.from === from ? word.to : line.to,
          severity: severity === "note" ? "info" : severity,
          message: code === undefined ? message : `${message} (${code})`,
        };
      });
    this.view.dispatch(setDiagnostics(this.view.state, marks));
  }

  private keep(): void {
    if (this.current !== "") {
      this.states.set(this.current, this.view.state);
    }
  }

  private open(file: string, doc: string): EditorState {
    const [, syntax, indent] = syntaxes.find(([ending]) => ending.test(file)) ?? [/$/, (): Extension => [], "  "];
    return EditorState.create({
      doc,
      extensions: [
        lineNumbers(),
        lintGutter(),
        highlightActiveLine(),
        highlightActiveLineGutter(),
        highlightSpecialChars(),
        history(),
        drawSelection(),
        indentOnInput(),
        bracketMatching(),
        closeBrackets(),
        autocompletion(),
        highlightSelectionMatches(),
        indentUnit.of(indent),
        EditorState.tabSize.of(4),
        syntax(),
        syntaxHighlighting(colours),
        look,
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...completionKeymap, ...lintKeymap, indentWithTab]),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) {
            this.changed(this.current, update.state.doc.toString());
          }
        }),
      ],
    });
  }
}
