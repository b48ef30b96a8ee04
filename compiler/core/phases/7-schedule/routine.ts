// What runs for a graph: its groups as launches, in order. In: a graph that is fused and laid out, and the loop whose body it
// is. Out: a Routine.
import { InternalError } from "../../diagnostics/report.ts";
import type { Identity } from "../../ir/identity.ts";
import type { Node, Value } from "../../ir/types.ts";
import { decode, rowMajor } from "../../kernel/coordinates.ts";
import type { Placing } from "../../kernel/emitter.ts";
import type { About, Launches, Routine, Step } from "../../kernel/launch.ts";
import { verifyKernel } from "../../kernel/verify.ts";
import { loopAttrs } from "../../ops/scan.ts";
import { type Fused, isStoredFor, type Region } from "../../regions/region.ts";
import { limitOf, rulesOf, type Target } from "../../targets.ts";
import type { Laid } from "../6-layout/layout.ts";
import { type FlatPlaces, lyingIn, runBeside } from "./beside.ts";
import { scheduleGroup } from "./choose.ts";
import type { Job, Offer, ScheduleContext } from "./family.ts";
import type { Schedules } from "./same.ts";
import { classOf } from "./tuned.ts";

/** What all graphs of a program share. */
export interface Scheduling {
  readonly target: Target;
  readonly identity: Identity;
  /** Keys of the derived weights that have a kernel. */
  readonly prepared: Set<string>;
  /** What equal groups share, of all programs. */
  readonly schedules: Schedules;
  /** `way`: the class of the group, where somebody picks how it is computed. */
  readonly describe: (g: Region, way: string | undefined) => About;
  readonly pick?: (offers: readonly Offer[], way: string) => number;
  /** The flat tensor that a parameter lies in. */
  readonly flat?: FlatPlaces;
  /** A module of few bytes. */
  readonly small?: boolean;
  /** Looks at every kernel (kernel/verify.ts). */
  readonly verify?: boolean;
}

export function schedule(p: Scheduling, laid: Laid, loop: Node | undefined): Routine {
  const { target } = p;
  const { fused, layouts, packed, filters, half, inPlace } = laid;
  const placing = placingOf(laid, loop);
  const ways = new Map<Region, string>();
  const picking = p.pick;
  const pick =
    picking &&
    ((offers: readonly Offer[], job: Job): number => {
      const way = classOf(job);
      if (offers.length > 1) ways.set(job.group, way);
      return picking(offers, way);
    });
  const ctx: ScheduleContext = {
    fused,
    layouts,
    target,
    packed,
    filters,
    half,
    placing,
    small: p.small,
    pick,
  };
  const most = limitOf(target, "maxStorageBuffersPerShaderStage");
  const launchesOf = (g: Region): Launches => {
    const made = p.pick
      ? scheduleGroup(ctx, g)
      : p.schedules.launches(ctx, laid, g, (own) => scheduleGroup(own, g));
    for (const { code, buffers } of made.list) {
      if (buffers.length > most)
        throw new InternalError(
          "schedule",
          `the kernel of ${g.anchor.op.name} binds ${buffers.length} buffers`,
        );
      if (p.verify) verifyKernel(code, rulesOf(target));
    }
    return made;
  };
  const keyOf = (v: Value): string => `${p.identity.of(v)}@${layouts.text(v)}`;
  const late = new Set<Step>();
  const anyHeld = fused.graph.nodes.some((n) => n.op.late);
  /** Those that run where they stand: what they read is there before, and yet they are not wanted before. */
  const held = new Set<Step>();
  const single = laid.order.flatMap((g): Step | Step[] => {
    const { anchor, roots } = g;
    if (g.kind === "control") return { kind: "loop", node: anchor };
    if (g.kind === "pack") {
      const offsets = anchor.attrs.offsets as readonly number[];
      const parts = anchor.inputs.map((value, i) => ({ value, offset: offsets[i] }));
      return { kind: "pack", whole: roots[0], parts };
    }
    // Launches of one group are steps of their own: others may run beside each.
    if (!g.derived) {
      const { list, temporaries } = launchesOf(g);
      const about = p.describe(g, ways.get(g));
      const own = list.map(
        (launch, i): Step => ({
          kind: "launch",
          launches: { list: [launch], temporaries: i === 0 ? temporaries : [] },
          about,
        }),
      );
      // Those that wait for what the first of them leaves.
      const left = new Set(temporaries);
      const first = Math.max(
        0,
        own.findIndex((step) => binds(step, left)),
      );
      for (const step of own.slice(first + 1)) late.add(step);
      if (anyHeld && isHeld(g, fused)) for (const step of own) held.add(step);
      return own;
    }
    const key = roots.map(keyOf).join("|");
    const launches = p.prepared.has(key) ? undefined : launchesOf(g);
    p.prepared.add(key);
    return { kind: "prepare", key, roots, launches, about: p.describe(g, ways.get(g)) };
  });
  const steps = runBeside(
    delayed(single, late, fused.alias),
    { alias: fused.alias, inPlace },
    target,
    lyingIn(single, fused.graph, fused.alias, p.flat),
    held,
  );
  // The others were looked at when they were made.
  const seen = new Set(single);
  if (p.verify)
    for (const s of steps)
      if (s.kind === "launch" && !seen.has(s))
        for (const { code } of s.launches.list) verifyKernel(code, rulesOf(target));
  return { graph: fused.graph, steps, alias: fused.alias, inPlace, memory: layouts.memory() };
}

/** Whether what a group reads is read behind a node that waits for more than that. */
function isHeld(g: Region, fused: Fused): boolean {
  const seen = new Set<Node>();
  const stack = g.roots.map((r) => r.node);
  for (let n = stack.pop(); n; n = stack.pop()) {
    if (seen.has(n)) continue;
    seen.add(n);
    if (n.op.late) return true;
    for (const v of n.inputs) if (!isStoredFor(fused.home, g, v)) stack.push(v.node);
  }
  return false;
}

const binds = (s: Step, values: ReadonlySet<Value>): boolean =>
  s.kind === "launch" && s.launches.list.some((l) => l.buffers.some((b) => values.has(b.value)));

/**
 * What adds up the parts of a sum waits until somebody reads it, or overwrites what it reads: such steps then stand side by
 * side, and can run so.
 */
function delayed(
  steps: readonly Step[],
  late: ReadonlySet<Step>,
  alias: ReadonlyMap<Value, Value>,
): readonly Step[] {
  const base = (v: Value): Value => alias.get(v) ?? v;
  const bound = (s: Step, write: boolean): readonly Value[] => {
    if (s.kind === "loop") return s.node.inputs.map(base);
    if (s.kind === "pack") return [s.whole, ...s.parts.map((p) => base(p.value))];
    const list = s.launches?.list ?? [];
    return list.flatMap((l) =>
      l.buffers.filter((b) => !write || b.access === "read_write").map((b) => base(b.value)),
    );
  };
  const out: Step[] = [];
  /** What waits, in order, and who of it writes or binds a value. */
  const waiting = new Map<Step, number>();
  const writers = new Map<Value, Step[]>();
  const binders = new Map<Value, Step[]>();
  const note = (by: Map<Value, Step[]>, values: readonly Value[], s: Step): void => {
    for (const v of values) {
      const list = by.get(v);
      if (list) list.push(s);
      else by.set(v, [s]);
    }
  };
  for (const [i, s] of steps.entries()) {
    const all = bound(s, false);
    const writes = bound(s, true);
    const ready = new Set(
      [...all.flatMap((v) => writers.get(v) ?? []), ...writes.flatMap((v) => binders.get(v) ?? [])].filter(
        (w) => waiting.has(w),
      ),
    );
    out.push(...[...ready].sort((a, b) => (waiting.get(a) as number) - (waiting.get(b) as number)));
    for (const w of ready) waiting.delete(w);
    if (late.has(s)) {
      waiting.set(s, i);
      note(writers, writes, s);
      note(binders, all, s);
    } else out.push(s);
  }
  return [...out, ...waiting.keys()];
}

/** Where roots are really stored: over the state they update, or in the slice of what the loop emits. */
function placingOf(laid: Laid, loop: Node | undefined): Placing {
  const { inPlace } = laid;
  const emitted = new Map<Value, { readonly whole: Value; readonly axis: number }>();
  if (loop) {
    const a = loopAttrs(loop.attrs);
    const carries = a.begin.length;
    a.emitAxes.forEach((axis, i) => {
      emitted.set(a.body.results[carries + i].value, { whole: loop.outs[carries + i], axis });
    });
  }
  return {
    buffer: (v) => inPlace.get(v) ?? emitted.get(v)?.whole ?? v,
    coordinates: (v, at, s) => {
      const source = inPlace.get(v);
      if (source) return decode(s, rowMajor(s, at, v.type.shape), source.type.shape);
      const place = emitted.get(v);
      if (!loop || !place) return at;
      return [...at.slice(0, place.axis), s.dim(loopAttrs(loop.attrs).index), ...at.slice(place.axis)];
    },
  };
}
