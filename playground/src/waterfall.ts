// Where the time of a run went: the phases of the answer one after the other, as bars.

const meanings: Record<string, string> = {
  auth: "checking the key",
  queue: "waiting for the session, a slot, and the same compilation of another request",
  checkout: "taking a sandbox",
  files: "placing the files",
  compile: "compiling",
  run: "the program",
  collect: "the last of the output",
  rest: "network, this browser, and what no phase counts",
};

export function milliseconds(ms: number): string {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  if (ms >= 100) return `${ms.toFixed(0)} ms`;
  return ms >= 10 ? `${ms.toFixed(1)} ms` : `${ms.toFixed(2)} ms`;
}

/** `timing`: milliseconds by phase, in the order in which they happen. `whole` is what the page measured, network included. */
export function drawWaterfall(list: HTMLElement, timing: Record<string, number>, whole: number): void {
  const phases = Object.entries(timing).filter(([name, ms]) => ms > 0 || name === "run");
  const told = phases.reduce((sum, [, ms]) => sum + ms, 0);
  phases.push(["rest", Math.max(whole - told, 0)]);
  const scale = Math.max(whole, told, 0.001);
  let begun = 0;
  list.replaceChildren(
    ...phases.map(([name, ms]) => {
      const row = document.createElement("li");
      row.title = meanings[name] ?? name;
      const label = document.createElement("span");
      label.textContent = name;
      const track = document.createElement("span");
      track.className = "track";
      const bar = document.createElement("span");
      bar.className = `bar phase-${name}`;
      bar.style.left = `${(100 * begun) / scale}%`;
      bar.style.width = `${(100 * ms) / scale}%`;
      track.append(bar);
      const figure = document.createElement("span");
      figure.className = "figure";
      figure.textContent = milliseconds(ms);
      row.append(label, track, figure);
      begun += ms;
      return row;
    }),
  );
}
