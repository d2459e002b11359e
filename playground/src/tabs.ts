// The files of the program as tabs, in the pattern of WAI-ARIA: arrows move, F2 or a double click renames, Delete deletes.
import { nameProblem, type SourceFile } from "./program.ts";

export interface TabEvents {
  select(name: string): void;
  add(name: string): void;
  rename(from: string, to: string): void;
  remove(name: string): void;
}

export class Tabs {
  private files: SourceFile[] = [];
  private selected = "";

  constructor(
    private readonly list: HTMLElement,
    private readonly tools: { add: HTMLButtonElement; rename: HTMLButtonElement; remove: HTMLButtonElement },
    private readonly events: TabEvents,
  ) {
    tools.add.addEventListener("click", () => this.edit(undefined));
    tools.rename.addEventListener("click", () => this.edit(this.selected));
    tools.remove.addEventListener("click", () => this.remove());
    list.addEventListener("keydown", (event) => this.key(event));
  }

  draw(files: SourceFile[], selected: string): void {
    this.files = files;
    this.selected = selected;
    this.list.replaceChildren(
      ...files.map(({ name }, i) => {
        const tab = document.createElement("button");
        tab.type = "button";
        tab.role = "tab";
        tab.textContent = name;
        tab.title = i === 0 ? `${name} is what is run` : name;
        tab.classList.toggle("main", i === 0);
        tab.setAttribute("aria-selected", String(name === selected));
        tab.setAttribute("aria-controls", "editor");
        tab.tabIndex = name === selected ? 0 : -1;
        tab.addEventListener("click", () => this.events.select(name));
        tab.addEventListener("dblclick", () => this.edit(name));
        return tab;
      }),
    );
    this.tools.remove.disabled = files.length < 2;
    this.list.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  focus(): void {
    this.list.querySelector<HTMLElement>('[aria-selected="true"]')?.focus();
  }

  private key(event: KeyboardEvent): void {
    if ((event.target as HTMLElement).role !== "tab") {
      return;
    }
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step !== undefined) {
      const at = this.files.findIndex((f) => f.name === this.selected);
      this.events.select(this.files[(at + step + this.files.length) % this.files.length]!.name);
      this.focus();
    } else if (event.key === "F2") {
      this.edit(this.selected);
    } else if (event.key === "Delete") {
      this.remove();
    } else {
      return;
    }
    event.preventDefault();
  }

  private remove(): void {
    if (this.files.length < 2) {
      return; // there is no program without a file
    }
    const { content } = this.files.find((f) => f.name === this.selected)!;
    if (content === "" || confirm(`Delete ${this.selected}?`)) {
      this.events.remove(this.selected);
      this.focus();
    }
  }

  /** Puts a field for a name into the place of a tab, or behind the last one. */
  private edit(name: string | undefined): void {
    const input = document.createElement("input");
    input.className = "tab-name";
    input.value = name ?? "";
    input.spellcheck = false;
    input.autocapitalize = "off";
    input.setAttribute("aria-label", name === undefined ? "Name of the new file" : `New name of ${name}`);
    input.placeholder = "name";
    const others = this.files.map((f) => f.name).filter((n) => n !== name);
    let over = false;
    const finish = (keep: boolean): void => {
      const problem = nameProblem(input.value, others);
      if (over || (keep && problem !== undefined && input.value !== "")) {
        if (!over) {
          input.setCustomValidity(problem!);
          input.reportValidity();
        }
        return;
      }
      over = true;
      const value = input.value;
      this.draw(this.files, this.selected);
      if (keep && problem === undefined && value !== name) {
        name === undefined ? this.events.add(value) : this.events.rename(name, value);
      } else {
        this.focus();
      }
    };
    input.addEventListener("input", () => input.setCustomValidity(""));
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "Escape") {
        event.preventDefault();
        event.stopPropagation();
        finish(event.key === "Enter");
      }
    });
    input.addEventListener("blur", () => finish(nameProblem(input.value, others) === undefined));
    const at = this.files.findIndex((f) => f.name === name);
    if (at < 0) {
      this.list.append(input);
    } else {
      this.list.children[at]!.replaceWith(input);
    }
    input.focus();
    input.setSelectionRange(0, /\.[^.]*$/.exec(input.value)?.index ?? input.value.length);
  }
}
