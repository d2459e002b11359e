// The text form of Prometheus, as far as apid writes it.

export interface Sample {
  labels: Record<string, string>;
  value: number;
}

/** All samples of one moment, by name. */
export class Snapshot {
  private readonly samples = new Map<string, Sample[]>();

  constructor(
    text: string,
    readonly at: number, // milliseconds
  ) {
    for (const line of text.split("\n")) {
      const m = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
      if (m === null) {
        continue; // a comment
      }
      const labels: Record<string, string> = {};
      for (const [, name = "", value = ""] of (m[2] ?? "").matchAll(/(\w+)="((?:\\.|[^"\\])*)"/g)) {
        labels[name] = value.replace(/\\(.)/g, (_, c: string) => (c === "n" ? "\n" : c));
      }
      const samples = this.samples.get(m[1]!) ?? [];
      samples.push({ labels, value: m[3] === "+Inf" ? Infinity : Number(m[3]) });
      this.samples.set(m[1]!, samples);
    }
  }

  all(name: string): Sample[] {
    return this.samples.get(name) ?? [];
  }

  sum(name: string): number {
    return this.all(name).reduce((sum, s) => sum + s.value, 0);
  }
}

/** How many values were at most as large as each bound, and what all values are together. */
export interface Histogram {
  buckets: Map<number, number>;
  count: number;
  sum: number;
}

/** The histograms of a name by what `group` makes of their labels, of which none may be made twice. `before` is taken off, for what happened since. */
export function histograms(now: Snapshot, before: Snapshot | undefined, name: string, group: (labels: Record<string, string>) => string): Map<string, Histogram> {
  const groups = new Map<string, Histogram>();
  const of = (labels: Record<string, string>): Histogram => {
    const key = group(labels);
    const h = groups.get(key) ?? { buckets: new Map<number, number>(), count: 0, sum: 0 };
    groups.set(key, h);
    return h;
  };
  const add = (snapshot: Snapshot, sign: number): void => {
    for (const { labels, value } of snapshot.all(`${name}_bucket`)) {
      const bound = labels["le"] === "+Inf" ? Infinity : Number(labels["le"]);
      const { buckets } = of(labels);
      buckets.set(bound, (buckets.get(bound) ?? 0) + sign * value);
    }
    snapshot.all(`${name}_count`).forEach(({ labels, value }) => (of(labels).count += sign * value));
    snapshot.all(`${name}_sum`).forEach(({ labels, value }) => (of(labels).sum += sign * value));
  };
  add(now, 1);
  if (before !== undefined) {
    add(before, -1);
  }
  return groups;
}

/** The value below which a share of all lies, as histogram_quantile of Prometheus reads it; undefined if there are none. */
export function quantile({ buckets, count: all }: Histogram, share: number): number | undefined {
  const steps = [...buckets].sort(([a], [b]) => a - b);
  const rank = share * all;
  if (rank <= 0) {
    return undefined;
  }
  let [lower, below] = [0, 0];
  for (const [bound, count] of steps) {
    if (count >= rank) {
      return bound === Infinity ? lower : lower + ((bound - lower) * (rank - below)) / (count - below);
    }
    [lower, below] = [bound, count];
  }
  return lower;
}
