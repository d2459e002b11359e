// Light or dark: as the system has it, until somebody says otherwise.

const name = "runtools.theme";

function apply(): void {
  document.documentElement.style.colorScheme = localStorage.getItem(name) ?? "light dark";
}

/** Works the switch. */
export function theme(button: HTMLButtonElement): void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = (): boolean => (localStorage.getItem(name) ?? (system.matches ? "dark" : "light")) === "dark";
  const label = (): void => button.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
  apply();
  label();
  system.addEventListener("change", label);
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    // What the system says anyway needs no saying: the page follows it again.
    if (next === (system.matches ? "dark" : "light")) {
      localStorage.removeItem(name);
    } else {
      localStorage.setItem(name, next);
    }
    apply();
    label();
  });
}
