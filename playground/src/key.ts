// The API key. It is asked for once and kept for the tab, or, if its owner says so, for this browser. No cookie: nothing is sent by itself.

const name = "runtools.key";

export function storedKey(): string {
  return sessionStorage.getItem(name) ?? localStorage.getItem(name) ?? "";
}

export function storeKey(key: string, remember: boolean): void {
  forgetKey();
  (remember ? localStorage : sessionStorage).setItem(name, key);
}

export function forgetKey(): void {
  sessionStorage.removeItem(name);
  localStorage.removeItem(name);
}

/** Takes a key from the address, where `make run` puts it, and removes it there before anybody can copy it along. */
export function takeKeyFromAddress(): void {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const key = fragment.get("key");
  if (key === null) {
    return;
  }
  fragment.delete("key");
  history.replaceState(null, "", location.pathname + location.search + (fragment.size > 0 ? `#${fragment}` : ""));
  // A link of somebody else could bring his key along, and what is run with it is his to read.
  const question = "This link brings an API key. Whoever has that key can see what you run with it. Use it in this tab?";
  if (/^[!-~]+$/.test(key) && key !== storedKey() && confirm(question)) {
    sessionStorage.setItem(name, key);
  }
}

/** Asks for the key. Resolves when one was given, and to false if not. */
export function askForKey(why: string): Promise<boolean> {
  const dialog = document.querySelector<HTMLDialogElement>("#key-dialog")!;
  const input = dialog.querySelector<HTMLInputElement>("input[name=key]")!;
  const remember = dialog.querySelector<HTMLInputElement>("input[name=remember]")!;
  dialog.querySelector("#key-why")!.textContent = why;
  input.value = "";
  remember.checked = localStorage.getItem(name) !== null;
  if (!dialog.open) {
    dialog.showModal();
  }
  return new Promise((resolve) => {
    dialog.querySelector("form")!.onsubmit = (event) => {
      event.preventDefault();
      const key = input.value.trim();
      if (!/^[!-~]+$/.test(key)) {
        input.setCustomValidity("want the key as it was shown, without spaces");
        input.reportValidity();
        return;
      }
      storeKey(key, remember.checked);
      dialog.close("given");
    };
    input.oninput = () => input.setCustomValidity("");
    dialog.querySelector<HTMLButtonElement>("button[type=button]")!.onclick = () => dialog.close("");
    dialog.onclose = () => resolve(dialog.returnValue === "given");
    dialog.returnValue = "";
  });
}
