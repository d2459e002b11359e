// What was typed stays in this browser, by language. A program that came with a link stays in this tab alone, so that no link takes the place of
// somebody's own work.
import { type Program, readProgram } from "./program.ts";

const draft = (language: string): string => `runtools.draft.${language}`;
const last = "runtools.language";

/** Keeps a program. `linked`: it came with a link. */
export function saveDraft(program: Program, linked: boolean): void {
  try {
    sessionStorage.setItem(last, program.language);
    if (linked) {
      sessionStorage.setItem(draft(program.language), JSON.stringify(program));
      return;
    }
    sessionStorage.removeItem(draft(program.language));
    localStorage.setItem(last, program.language);
    localStorage.setItem(draft(program.language), JSON.stringify(program));
  } catch {
    // full, or not allowed here: then it is not kept
  }
}

export const lastLanguage = (): string | null => sessionStorage.getItem(last) ?? localStorage.getItem(last);

export const ownDraft = (language: string): Program | undefined => read(localStorage, language);

export const linkedDraft = (language: string): Program | undefined => read(sessionStorage, language);

function read(store: Storage, language: string): Program | undefined {
  try {
    return readProgram(JSON.parse(store.getItem(draft(language)) ?? "null"));
  } catch {
    return undefined;
  }
}
