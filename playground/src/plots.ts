// Small plots, drawn anew with each answer. Each has a text that says the same.

const space = "http://www.w3.org/2000/svg";

function svg<K extends keyof SVGElementTagNameMap>(name: K, attributes: Record<string, string | number>): SVGElementTagNameMap[K] {
  const element = document.createElementNS(space, name);
  for (const [attribute, value] of Object.entries(attributes)) {
    element.setAttribute(attribute, String(value));
  }
  return element;
}

export function element(name: string, className: string, text = ""): HTMLElement {
  const e = document.createElement(name);
  e.className = className;
  e.textContent = text;
  return e;
}

/** So many values a curve has room for before it is drawn closer. */
const fewest = 30;

/** A line of values over time, newest right. The scale begins at 0. */
export function sparkline(values: number[]): SVGSVGElement {
  const most = Math.max(values.length, fewest);
  const plot = svg("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true", class: "spark" });
  const top = Math.max(...values, 1e-9);
  const points = values.map((v, i) => `${(100 * (most - values.length + i)) / (most - 1)},${23 - (22 * v) / top}`);
  if (points.length > 1) {
    const [first] = points[0]!.split(",");
    plot.append(svg("polygon", { points: `${first},24 ${points.join(" ")} 100,24`, class: "area" }), svg("polyline", { points: points.join(" "), class: "curve" }));
  }
  return plot;
}

export interface Part {
  name: string;
  value: number;
  kind: string; // a class that gives it a colour
}

/** Rows of bars, each of parts one after the other, on one scale. */
export function bars(rows: { label: string; figure: string; of?: number; parts: Part[] }[], empty: string): HTMLElement {
  const list = element("ol", "bars");
  const most = Math.max(...rows.map((r) => Math.max(r.of ?? 0, r.parts.reduce((sum, p) => sum + p.value, 0))), 1e-9);
  for (const { label, figure, of, parts } of rows) {
    const row = element("li", "");
    const track = element("span", "track");
    if (of !== undefined) {
      const goal = element("span", "goal");
      goal.style.width = `${(100 * of) / most}%`;
      track.append(goal);
    }
    let begun = 0;
    for (const { name, value, kind } of parts) {
      const bar = element("span", `part ${kind}`);
      bar.title = name;
      bar.style.left = `${(100 * begun) / most}%`;
      bar.style.width = `${(100 * value) / most}%`;
      track.append(bar);
      begun += value;
    }
    row.append(element("span", "label", label), track, element("span", "figure", figure));
    list.append(row);
  }
  return rows.length > 0 ? list : element("p", "hint", empty);
}

/** Where a value lies on a logarithmic scale, percent. */
export function onScale(value: number, from: number, to: number): number {
  return (100 * Math.log(Math.min(Math.max(value, from), to) / from)) / Math.log(to / from);
}

/** A range with a mark in it, on a logarithmic scale. */
export function range(mark: number, low: number, high: number, from: number, to: number): HTMLElement {
  const track = element("span", "track");
  const line = element("span", "reach");
  line.style.left = `${onScale(low, from, to)}%`;
  line.style.width = `${onScale(high, from, to) - onScale(low, from, to)}%`;
  const dot = element("span", "dot");
  dot.style.left = `${onScale(mark, from, to)}%`;
  track.append(line, dot);
  return track;
}
