// What the server is doing, for its operator: the metrics of GET /v1/metrics, as plots, every two seconds while somebody looks.
import { askForKey, storedKey, takeKeyFromAddress } from "./key.ts";
import { languageNamed } from "./languages.ts";
import { bars, element, type Part, range, sparkline } from "./plots.ts";
import { type Histogram, histograms, quantile, Snapshot } from "./prometheus.ts";
import { theme } from "./theme.ts";
import { milliseconds } from "./waterfall.ts";

/** How often the server is asked, milliseconds; it asks sandboxd in turn. */
const every = 2000;
/** How many answers are kept for the curves: ten minutes. */
const kept = 300;
const minute = 60_000;

const find = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const history: Snapshot[] = [];
let asking = 0;

/** How many a second since the answer before. */
function rate(name: string, i: number): number {
  const [now, before] = [history[i]!, history[i - 1]];
  return before === undefined ? 0 : Math.max(now.sum(name) - before.sum(name), 0) / ((now.at - before.at) / 1000);
}

const sum = (name: string, i: number): number => history[i]!.sum(name);
const mebibytes = (bytes: number): string => (bytes >= 10 * 2 ** 20 ? `${Math.round(bytes / 2 ** 20)} MiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`);
const whole = (n: number): string => Math.round(n).toLocaleString("en");

const tiles: [title: string, meaning: string, value: (i: number) => number, shown: (n: number) => string][] = [
  ["Requests", "carried out or refused, a second", (i) => rate("runtools_requests_total", i), (n) => `${n.toFixed(1)} /s`],
  ["Running", "requests being carried out", (i) => sum("runtools_jobs_running", i), whole],
  ["Waiting", "requests in the queue", (i) => sum("runtools_queue_length", i), whole],
  ["Jails", "that exist, those in pools included", (i) => sum("runtools_jails_live", i), whole],
  ["Pool misses", "jobs that found no sandbox ready, a second", (i) => rate("runtools_pool_misses_total", i), (n) => `${n.toFixed(1)} /s`],
  ["Sessions", "held, with their files", (i) => sum("runtools_sessions", i), whole],
  ["Session memory", "of all sessions' files", (i) => sum("runtools_session_bytes", i), mebibytes],
  ["Memory of apid", "resident", (i) => sum("process_resident_memory_bytes", i), mebibytes],
];

function drawTiles(): void {
  find("tiles").replaceChildren(
    ...tiles.map(([title, meaning, value, shown]) => {
      const tile = element("div", "tile");
      tile.title = meaning;
      const values = history.map((_, i) => value(i));
      tile.append(element("span", "name", title), element("strong", "", shown(values.at(-1)!)), sparkline(values));
      return tile;
    }),
  );
}

const phases = ["queue", "checkout", "files", "compile", "run", "collect"];

function drawLatency(now: Snapshot): void {
  const before = find<HTMLSelectElement>("window").value === "minute" ? history.find((s) => now.at - s.at <= minute) : undefined;
  const all = histograms(now, before, "runtools_phase_seconds", ({ language, phase }) => `${language} ${phase}`);
  const languages = [...new Set([...all].filter(([, h]) => h.count > 0).map(([key]) => key.split(" ")[0]!))].sort();
  if (languages.length === 0) {
    find("latency").replaceChildren(element("p", "hint", "Nothing has run in this time."));
    return;
  }
  const table = element("table", "latency");
  const head = table.appendChild(element("thead", "")).appendChild(element("tr", ""));
  head.append(...["language", "runs", ...phases].map((name) => element("th", "", name)));
  const body = table.appendChild(element("tbody", ""));
  for (const language of languages) {
    const row = body.appendChild(element("tr", ""));
    const runs = all.get(`${language} run`)?.count ?? 0;
    row.append(element("th", "", languageNamed(language).label), element("td", "runs", whole(runs)), ...phases.map((phase) => cell(all.get(`${language} ${phase}`))));
  }
  find("latency").replaceChildren(table);
}

/** The scale of all cells, seconds. */
const [shortest, longest] = [20e-6, 20];

function cell(h: Histogram | undefined): HTMLElement {
  const td = element("td", "");
  if (h === undefined || h.count === 0) {
    return td;
  }
  const mean = h.sum / h.count;
  // The range is read from steps, the mean is exact: with few values it may lie beside it.
  const [low, high] = [quantile(h, 0.1)!, quantile(h, 0.9)!];
  const figure = milliseconds(mean * 1000);
  td.title = `mean ${figure}; from ${milliseconds(low * 1000)} to ${milliseconds(high * 1000)} in four of five; ${whole(h.count)} in all`;
  td.append(element("span", "figure", figure), range(mean, Math.min(low, mean), Math.max(high, mean), shortest, longest));
  return td;
}

function drawPools(now: Snapshot): void {
  const sizes = new Map(now.all("runtools_pool_size").map((s) => [s.labels["template"]!, s.value]));
  const rows = now.all("runtools_pool_ready").map(({ labels, value }) => {
    const of = sizes.get(labels["template"]!) ?? 0;
    return { label: labels["template"]!, figure: `${value} of ${of}`, of, parts: [{ name: "ready", value, kind: value < of ? "warn" : "good" }] };
  });
  find("pools").replaceChildren(bars(rows, "sandboxd does not answer."));
}

const kinds: Record<string, string> = { OK: "good", RE: "warn", SG: "warn", CE: "warn", TO: "limit", ML: "limit", OL: "limit", EL: "limit", SV: "limit" };

function drawOutcomes(now: Snapshot): void {
  const rows = new Map<string, Part[]>();
  for (const { labels, value } of now.all("runtools_requests_total")) {
    const parts = rows.get(labels["language"]!) ?? [];
    parts.push({ name: `${labels["outcome"]}: ${whole(value)}`, value, kind: kinds[labels["outcome"]!] ?? "bad" });
    rows.set(labels["language"]!, parts);
  }
  const order = ["good", "warn", "limit", "bad"];
  find("outcomes").replaceChildren(
    bars(
      [...rows].sort().map(([language, parts]) => ({
        label: language === "" ? "refused" : languageNamed(language).label,
        figure: whole(parts.reduce((all, p) => all + p.value, 0)),
        parts: parts.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind)),
      })),
      "No request has come yet.",
    ),
  );
}

function drawDenied(now: Snapshot): void {
  const calls = new Map<string, { count: number; languages: string[] }>();
  for (const { labels, value } of now.all("runtools_denied_syscalls_total")) {
    const call = calls.get(labels["syscall"]!) ?? { count: 0, languages: [] };
    call.count += value;
    call.languages.push(languageNamed(labels["language"]!).label);
    calls.set(labels["syscall"]!, call);
  }
  const most = [...calls].sort(([, a], [, b]) => b.count - a.count).slice(0, 20);
  find("denied").replaceChildren(
    bars(
      most.map(([name, { count, languages }]) => ({ label: name, figure: whole(count), parts: [{ name: languages.join(", "), value: count, kind: "bad" }] })),
      "None yet, beyond those that runtimes try as a matter of course.",
    ),
  );
}

function health(kind: string, text: string): void {
  const e = find("health");
  if (e.textContent !== text) {
    e.className = kind;
    e.textContent = text;
  }
}

function draw(): void {
  const now = history.at(-1)!;
  health(now.sum("runtools_sandboxd_up") === 1 ? "good" : "bad", now.sum("runtools_sandboxd_up") === 1 ? "serving" : "sandboxd does not answer");
  drawTiles();
  drawLatency(now);
  drawPools(now);
  drawOutcomes(now);
  drawDenied(now);
}

/** Asks, draws, and asks again later. */
async function ask(): Promise<void> {
  clearTimeout(asking);
  if (document.hidden) {
    return; // nobody looks
  }
  if (storedKey() === "" && !(await askForKey("What concerns all keys is shown to operators."))) {
    health("warn", "no key");
    return;
  }
  try {
    const answer = await fetch("./v1/metrics", { headers: { Authorization: `Bearer ${storedKey()}` } });
    if (answer.status === 401 || answer.status === 403) {
      health("warn", "not allowed");
      if (await askForKey(answer.status === 401 ? "The server does not accept the key." : "This key is a caller's. The figures of all keys want an operator's.")) {
        void ask();
      }
      return;
    }
    if (!answer.ok) {
      throw new Error(`answered ${answer.status}`);
    }
    history.push(new Snapshot(await answer.text(), Date.now()));
    history.splice(0, history.length - kept);
    draw();
  } catch (error) {
    health("bad", `the server is not there: ${error instanceof Error ? error.message : String(error)}`);
  }
  asking = setTimeout(() => void ask(), every);
}

theme(find("theme"));
takeKeyFromAddress();
find("key").addEventListener("click", () => void askForKey("What concerns all keys is shown to operators.").then((given) => (given ? ask() : undefined)));
find("window").addEventListener("change", () => history.length > 0 && draw());
document.addEventListener("visibilitychange", () => void ask());
document.documentElement.dataset["ready"] = "true";
void ask();
