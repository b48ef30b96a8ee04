// An order of what is computed at once (a region, or a node that has none yet) in which everything comes after what it
// needs, kept while regions grow. In: a graph. Out: whether one waits for another, at a cost that is that of what lies
// between them and not of the graph (Pearce and Kelly, "A dynamic topological sort algorithm for directed acyclic graphs",
// 2006): most questions are answered by comparing two numbers.
import { InternalError } from "../../diagnostics/index.ts";

/**
 * Operands looked at to find out whether one waits for another. A search that is not over by then says yes, which costs at most
 * a kernel more: what lies that far behind nearly always does wait.
 */
const MOST_BETWEEN = 8000;

export class UnitOrder<Unit> {
  private readonly labels = new Map<Unit, number>();
  /** Add what a unit needs, and what needs it; itself may be among them. */
  private readonly before: (u: Unit, to: Unit[]) => void;
  private readonly after: (u: Unit, to: Unit[]) => void;

  /** `units` in an order in which each comes after what it needs. */
  constructor(
    units: readonly Unit[],
    before: (u: Unit, to: Unit[]) => void,
    after: (u: Unit, to: Unit[]) => void,
  ) {
    this.before = before;
    this.after = after;
    units.forEach((u, i) => void this.labels.set(u, i));
  }
  /** What is not among the units comes before everything. */
  label(u: Unit): number {
    return this.labels.get(u) ?? -1;
  }
  /** True when computing `u` needs something of `target` (or when that takes too long to find out). */
  needs(u: Unit, target: Unit): boolean {
    if (u === target) return true;
    return this.between([u], target) === undefined;
  }
  /**
   * What `starts` need, themselves too, that comes after `low`; undefined where `low` is among it.
   */
  private between(starts: readonly Unit[], low: Unit, most = MOST_BETWEEN): Set<Unit> | undefined {
    const bound = this.label(low);
    const seen = new Set<Unit>();
    let looked = 0;
    const stack = starts.filter((u) => this.label(u) >= bound);
    const needed: Unit[] = [];
    for (let u = stack.pop(); u; u = stack.pop()) {
      if (u === low) return undefined;
      if (seen.has(u)) continue;
      seen.add(u);
      needed.length = 0;
      this.before(u, needed);
      for (let i = 0; i < needed.length; i++) {
        const b = needed[i];
        if (++looked > most) return undefined;
        if (this.label(b) >= bound && !seen.has(b)) stack.push(b);
      }
    }
    return seen;
  }
  /** What a unit needs beside another. */
  private beside(u: Unit, other: Unit): Unit[] {
    const needed: Unit[] = [];
    this.before(u, needed);
    return needed.filter((x) => x !== u && x !== other);
  }
  /** True when both can be computed at once: neither waits for something that waits for the other. */
  joinable(a: Unit, b: Unit): boolean {
    const [low, high] = this.label(a) <= this.label(b) ? [a, b] : [b, a];
    return this.between(this.beside(high, low), low) !== undefined;
  }
  /** Before two units become one: makes room, so that the one may stand where the first of them stood. */
  prepare(a: Unit, b: Unit): number {
    const [low, high] = this.label(a) <= this.label(b) ? [a, b] : [b, a];
    const first = this.between(this.beside(high, low), low, Number.POSITIVE_INFINITY);
    if (!first) throw new InternalError("fuse", "what is to be one kernel waits for itself");
    if (first.size === 0) return this.label(low);
    let top = -1;
    for (const u of first) top = Math.max(top, this.label(u));
    // What waits for `low` moves behind what it now waits for.
    const last = new Set<Unit>();
    const stack: Unit[] = [low];
    for (let u = stack.pop(); u; u = stack.pop()) {
      if (last.has(u) || u === high || this.label(u) > top) continue;
      last.add(u);
      this.after(u, stack);
    }
    const byLabel = (x: Unit, y: Unit): number => this.label(x) - this.label(y);
    const list = [...[...first].sort(byLabel), ...[...last].sort(byLabel)];
    const labels = Float64Array.from(list, (u) => this.label(u)).sort();
    for (let i = 0; i < list.length; i++) this.labels.set(list[i], labels[i]);
    return this.label(low);
  }
  set(u: Unit, label: number): void {
    this.labels.set(u, label);
  }
  /** A node stands by itself again: where it stood, or between what it needs and what needs it. */
  restore(n: Unit, was: number): void {
    const before: Unit[] = [];
    const after: Unit[] = [];
    this.before(n, before);
    this.after(n, after);
    let low = -1;
    let high = Number.MAX_SAFE_INTEGER;
    for (const u of before) low = Math.max(low, this.label(u));
    for (const u of after) if (u !== n) high = Math.min(high, this.label(u));
    this.labels.set(n, was > low && was < high ? was : low + (Math.min(high, low + 1) - low) / 2);
  }
}
