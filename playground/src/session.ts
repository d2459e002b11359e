// The switch that keeps files between runs, and what is kept.
import type { ExecuteResult, RunTools } from "../../sdk/typescript/src/index.ts";

const name = "runtools.session";

/** How many files are shown: a program may leave thousands. */
const maxShown = 12;

export class SessionPanel {
  private id = sessionStorage.getItem(name) ?? ""; // a tab's own: two tabs do not write into each other's files
  private used = this.id !== "";

  constructor(
    private readonly parts: { box: HTMLInputElement; kept: HTMLElement; anew: HTMLButtonElement },
    private readonly page: { client: () => RunTools; say: (text: string) => void; fail: (error: unknown) => void },
  ) {
    parts.box.checked = this.used;
    parts.box.addEventListener("change", () => (parts.box.checked ? this.draw([]) : void this.end()));
    parts.anew.addEventListener("click", () => void this.end());
  }

  /** What a request says of its session. */
  request(): { sessionId: string } | { ephemeral: true } {
    if (!this.parts.box.checked) {
      return { ephemeral: true };
    }
    if (this.id === "") {
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      this.id = `playground-${[...bytes].map((b) => b.toString(16).padStart(2, "0")).join("")}`;
      sessionStorage.setItem(name, this.id);
    }
    return { sessionId: this.id };
  }

  ran(result: ExecuteResult): void {
    if (result.session_id === this.id && this.id !== "") {
      if (result.session_created && this.used) {
        this.page.say("The session had expired, and began again without files");
      }
      this.used = true;
    }
  }

  /** Shows what is there besides the program itself. */
  async refresh(program: string[]): Promise<void> {
    if (!this.parts.box.checked || !this.used) {
      return;
    }
    try {
      const files = await this.page.client().session(this.id).files.list();
      this.draw(files.filter((f) => f.type === "file" && !program.includes(f.path)).map((f) => f.path));
    } catch {
      this.draw([]); // it expired, or a run holds it: the next run tells
    }
  }

  private draw(paths: string[]): void {
    const { kept, anew } = this.parts;
    anew.hidden = !this.used;
    const buttons = paths.slice(0, maxShown).map((path) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "small";
      button.textContent = path;
      button.title = `Download ${path}`;
      button.addEventListener("click", () => void this.download(path));
      return button;
    });
    kept.replaceChildren(...buttons);
    if (paths.length > maxShown) {
      kept.append(`and ${paths.length - maxShown} more`);
    }
  }

  private async download(path: string): Promise<void> {
    try {
      const content = await this.page.client().session(this.id).files.get(path);
      const link = document.createElement("a");
      // Of no type that a browser shows: it is saved and never opened as a page of ours.
      link.href = URL.createObjectURL(new Blob([content as Uint8Array<ArrayBuffer>], { type: "application/octet-stream" }));
      link.download = path.split("/").at(-1)!;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    } catch (error) {
      this.page.fail(error);
    }
  }

  private async end(): Promise<void> {
    const { id, used } = this;
    this.id = "";
    this.used = false;
    sessionStorage.removeItem(name);
    this.draw([]);
    if (used) {
      await this.page.client().deleteSession(id).catch(this.page.fail);
    }
  }
}
