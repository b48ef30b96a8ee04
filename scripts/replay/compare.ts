// What differs between the records of two revisions. In: records by model. Out: a report as data, and as text. Pure.
import type { EntryRecord, ModelRecord, TargetRecord } from "./record.ts";

export interface KernelChange {
  readonly kind: "changed" | "added" | "removed";
  /** `MODEL TARGET`. */
  readonly where: string;
  readonly name: string;
  readonly before?: string;
  readonly after?: string;
}
export interface Change {
  readonly where: string;
  readonly before: string;
  readonly after: string;
}
export interface Comparison {
  readonly models: number;
  /** Kernels, by target and model. */
  readonly kernels: { readonly equal: number; readonly changes: readonly KernelChange[] };
  /** Text of the stage `plan`, by target and model. */
  readonly plans: { readonly equal: number; readonly changes: readonly Change[] };
  readonly entries: { readonly equal: number; readonly changes: readonly Change[] };
  readonly dispatches: readonly [before: number, after: number];
  readonly peaks: { readonly equal: number; readonly changes: readonly Change[] };
  readonly peakBytes: readonly [before: number, after: number];
  /** Bytes of the modules, gzipped. */
  readonly sizes: { readonly equal: number; readonly changes: readonly Change[] };
  readonly sizeBytes: readonly [before: number, after: number];
  readonly minifiedBytes?: readonly [before: number | undefined, after: number | undefined];
  readonly ms: readonly [before: number, after: number];
  /** Models whose compile time is at least doubled or halved, and long enough to say so. */
  readonly times: readonly Change[];
  /** Models that a revision refuses or dies of, where the other says something else. */
  readonly refusals: readonly Change[];
  /** Models that neither takes, for the same reason. */
  readonly refused: number;
}

/** The least time, in milliseconds, at which a ratio means anything. */
const LONG = 300;

const ratio = (before: number, after: number): string =>
  before === after
    ? "="
    : before === 0
      ? "new"
      : `${after > before ? "+" : ""}${((100 * (after - before)) / before).toFixed(1)} %`;

type Made = Extract<ModelRecord, { targets: unknown }>;
const isMade = (r: ModelRecord | undefined): r is Made => r !== undefined && "targets" in r;
const refusal = (r: ModelRecord | undefined): string =>
  r === undefined ? "not compiled" : "error" in r ? r.error : "compiled";

export function compare(before: readonly ModelRecord[], after: readonly ModelRecord[]): Comparison {
  const old = new Map(before.map((r) => [r.id, r]));
  const kernels: { equal: number; changes: KernelChange[] } = { equal: 0, changes: [] };
  const lists = () => ({ equal: 0, changes: [] as Change[] });
  const [plans, entries, peaks, sizes] = [lists(), lists(), lists(), lists()];
  const refusals: Change[] = [];
  const times: Change[] = [];
  let refused = 0;
  const sum = { dispatches: [0, 0], peak: [0, 0], size: [0, 0], minified: [0, 0], ms: [0, 0] } as Record<
    "dispatches" | "peak" | "size" | "minified" | "ms",
    [number, number]
  >;
  const some = { before: false, after: false };
  const add = (to: [number, number], a: number, b: number): void => {
    to[0] += a;
    to[1] += b;
  };
  const note = (to: ReturnType<typeof lists>, where: string, a: string, b: string): void => {
    if (a === b) to.equal++;
    else to.changes.push({ where, before: a, after: b });
  };
  for (const b of after) {
    const a = old.get(b.id);
    if (!isMade(a) || !isMade(b)) {
      if (refusal(a) === refusal(b)) refused++;
      else refusals.push({ where: b.id, before: refusal(a), after: refusal(b) });
      continue;
    }
    for (const target of new Set([...a.targets, ...b.targets].map((t) => t.target))) {
      const [x, y] = [a, b].map((r) => r.targets.find((t) => t.target === target));
      const where = `${b.id} ${target}`;
      const texts = compareKernels(where, x, y);
      kernels.equal += texts.equal;
      kernels.changes.push(...texts.changes);
      note(plans, where, x?.plan ?? "", y?.plan ?? "");
      const names = new Set([...(x?.entries ?? []), ...(y?.entries ?? [])].map((e) => e.name));
      for (const name of names) {
        const [p, q] = [x, y].map((t) => t?.entries.find((e) => e.name === name));
        const at = `${b.id} ${name} ${target}`;
        note(entries, at, dispatchText(p), dispatchText(q));
        add(sum.dispatches, p?.nominal ?? 0, q?.nominal ?? 0);
        note(peaks, at, bytesText(p), bytesText(q));
        add(sum.peak, p?.peakBytes ?? 0, q?.peakBytes ?? 0);
      }
    }
    note(sizes, b.id, sizeText(a), sizeText(b));
    add(sum.size, a.bytes, b.bytes);
    add(sum.minified, a.minifiedBytes ?? 0, b.minifiedBytes ?? 0);
    some.before ||= a.minifiedBytes !== undefined;
    some.after ||= b.minifiedBytes !== undefined;
    add(sum.ms, a.ms, b.ms);
    const factor = b.ms / a.ms;
    if (Math.max(a.ms, b.ms) >= LONG && (factor >= 2 || factor <= 0.5))
      times.push({ where: b.id, before: `${a.ms.toFixed(0)} ms`, after: `${b.ms.toFixed(0)} ms` });
  }
  return {
    models: after.length,
    kernels,
    plans,
    entries,
    dispatches: sum.dispatches,
    peaks,
    peakBytes: sum.peak,
    sizes,
    sizeBytes: sum.size,
    minifiedBytes:
      some.before || some.after
        ? [some.before ? sum.minified[0] : undefined, some.after ? sum.minified[1] : undefined]
        : undefined,
    ms: sum.ms,
    times,
    refusals,
    refused,
  };
}

/** Equal texts are equal, whatever place they have in the program; what is left is paired by name. */
function compareKernels(
  where: string,
  before: TargetRecord | undefined,
  after: TargetRecord | undefined,
): { equal: number; changes: KernelChange[] } {
  const count = new Map<string, number>();
  for (const k of after?.kernels ?? []) count.set(k.text, (count.get(k.text) ?? 0) + 1);
  let equal = 0;
  const gone = (before?.kernels ?? []).filter((k) => {
    const left = count.get(k.text) ?? 0;
    if (left === 0) return true;
    count.set(k.text, left - 1);
    equal++;
    return false;
  });
  // Of a text that is there more often than before, the later ones are new.
  const fresh = (after?.kernels ?? [])
    .toReversed()
    .filter((k) => {
      const left = count.get(k.text) ?? 0;
      if (left > 0) count.set(k.text, left - 1);
      return left > 0;
    })
    .toReversed();
  const changes: KernelChange[] = [];
  const named = new Map(gone.map((k) => [k.name, k]));
  for (const { name, text } of fresh) {
    const was = named.get(name);
    if (was) {
      named.delete(name);
      changes.push({ kind: "changed", where, name, before: was.text, after: text });
    } else changes.push({ kind: "added", where, name, after: text });
  }
  for (const { name, text } of named.values()) changes.push({ kind: "removed", where, name, before: text });
  return { equal, changes };
}

const dispatchText = (e: EntryRecord | undefined): string =>
  e ? `${e.dispatches}${e.prepare > 0 ? ` and ${e.prepare} prepared` : ""}` : "no entry";
const bytesText = (e: EntryRecord | undefined): string => (e ? String(e.peakBytes) : "no entry");
const sizeText = (r: Made): string =>
  `${r.bytes}${r.minifiedBytes === undefined ? "" : ` (minified ${r.minifiedBytes})`}`;

/** Whether nothing differs that a run would repeat: all but times. */
export const isEqual = (c: Comparison): boolean =>
  [c.kernels, c.plans, c.entries, c.peaks, c.sizes].every((x) => x.changes.length === 0) &&
  c.refusals.length === 0;

/** A report of at most `most` lines a section. */
export function reportText(c: Comparison, most = Number.POSITIVE_INFINITY): string {
  const kinds = (["changed", "added", "removed"] as const)
    .map((kind) => `${c.kernels.changes.filter((k) => k.kind === kind).length} ${kind}`)
    .join(", ");
  const of = (x: { equal: number; changes: readonly unknown[] }): string =>
    `${x.equal} equal, ${x.changes.length} changed`;
  const total = ([a, b]: readonly [number, number], unit: string): string =>
    `${unit} ${a.toLocaleString("en")} -> ${b.toLocaleString("en")} (${ratio(a, b)})`;
  const minified = c.minifiedBytes?.map((n) => (n === undefined ? "none" : n.toLocaleString("en")));
  const lines = [
    `models          ${c.models - c.refused - c.refusals.length} compiled by both, ${c.refused} refused by both alike, ${c.refusals.length} by one or otherwise`,
    `kernel texts    ${c.kernels.equal} equal, ${kinds}`,
    `plans           ${of(c.plans)}`,
    `dispatches      ${of(c.entries)}; ${total(c.dispatches, "sum")}`,
    `peak bytes      ${of(c.peaks)}; ${total(c.peakBytes, "sum")}`,
    `modules gzipped ${of(c.sizes)}; ${total(c.sizeBytes, "bytes")}`,
    ...(minified ? [`      minified  bytes ${minified[0]} -> ${minified[1]}`] : []),
    `compile times   ratio ${c.ms[0] === 0 ? "-" : (c.ms[1] / c.ms[0]).toFixed(2)} (${(c.ms[0] / 1000).toFixed(1)} s -> ${(c.ms[1] / 1000).toFixed(1)} s; noise unless it is large)`,
  ];
  const section = (title: string, body: readonly string[]): void => {
    if (body.length === 0) return;
    lines.push("", title, ...body.slice(0, most).map((l) => `  ${l}`));
    if (body.length > most) lines.push(`  … and ${body.length - most} more (--all)`);
  };
  const arrows = (list: readonly Change[]): string[] =>
    list.map((x) => `${x.where}: ${x.before} -> ${x.after}`);
  const byTarget = (list: readonly Change[]): string[] =>
    grouped(list.map((x) => [x.where, `${x.before} -> ${x.after}`]));
  section("refused", arrows(c.refusals));
  const byPlace = new Map<string, string[]>();
  for (const k of c.kernels.changes)
    byPlace.set(k.where, [...(byPlace.get(k.where) ?? []), `${k.kind} ${k.name}`]);
  section("kernel texts", grouped([...byPlace].map(([where, list]) => [where, list.join(", ")])));
  section("dispatches", byTarget(c.entries.changes));
  section("peak bytes", byTarget(c.peaks.changes));
  section("modules", arrows(c.sizes.changes));
  section("compile times, doubled or halved", arrows(c.times));
  section("plans", grouped(c.plans.changes.map((x) => [x.where, ""])));
  return lines.join("\n");
}

/** Lines `PLACE TARGET, TARGET: WHAT` of places that end with a target, where what is said of several targets is the same. */
function grouped(lines: readonly (readonly [where: string, what: string])[]): string[] {
  const groups = new Map<string, { place: string; targets: string[]; what: string }>();
  for (const [where, what] of lines) {
    const [, place, target] = /^(.*) (\S+)$/.exec(where) ?? ["", where, ""];
    const key = JSON.stringify([place, what]);
    const group = groups.get(key);
    if (group) group.targets.push(target);
    else groups.set(key, { place, targets: [target], what });
  }
  return [...groups.values()].map(
    ({ place, targets, what }) => `${place} ${targets.join(", ")}${what && `: ${what}`}`,
  );
}
