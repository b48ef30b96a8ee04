// Small kernels that do not wait for each other run side by side in one dispatch: the copies of weights, the running
// statistics of a network's norms, the sums behind its biases. A dispatch costs more than they do.
// In: what runs for a graph, in order. Out: the same with fewer launches.
import { evaluateAll, NOMINAL, product } from "../../dims/dim.ts";
import type { Value } from "../../ir/types.ts";
import { beside } from "../../kernel/beside.ts";
import { type Launch, oneLaunch, type Step } from "../../kernel/launch.ts";
import { isFlat, isRun } from "../../ops/source.ts";
import { limitOf, type Target } from "../../targets.ts";

/** Elements, at nominal sizes, up to which a kernel is small: what it stores lives longer where it runs earlier. */
const SMALL = 1 << 17;
/** Kernels in one. */
const MOST_PARTS = 8;
/** Words of its uniform block, which grow as its text does. */
const MOST_WORDS = 256;
/** Steps that a kernel is taken forward over. */
const FARTHEST = 400;

type LaunchStep = Extract<Step, { kind: "launch" }>;

export function runBeside(
  steps: readonly Step[],
  routine: { readonly alias: ReadonlyMap<Value, Value>; readonly inPlace: ReadonlyMap<Value, Value> },
  target: Target,
): Step[] {
  const most = limitOf(target, "maxStorageBuffersPerShaderStage");
  const words = Math.min(MOST_WORDS, limitOf(target, "maxUniformWords"));
  const baseOf = (v: Value): Value => routine.alias.get(v) ?? v;
  const overwritten = new Set(routine.inPlace.values());
  const updates = new Map<Value, Value[]>();
  for (const [root, source] of routine.inPlace) updates.set(source, [...(updates.get(source) ?? []), root]);
  /** Bytes that have several names (all parameters at once, and one) are not told apart here. */
  const shared = (v: Value): boolean => isFlat(v.node.attrs.path) || isRun(v.node.attrs.path);
  const small = once((s: Step): Launch | undefined => {
    if (s.kind !== "launch" || s.launches.list.length !== 1) return undefined;
    const [l] = s.launches.list;
    if (l.code.family !== "map" && l.code.family !== "rows") return undefined;
    const stored = l.buffers.filter((b) => b.access === "read_write").map((b) => b.value);
    if (stored.some((v) => overwritten.has(v) && shared(v))) return undefined;
    const elements = stored.reduce((n, v) => n + evaluateAll(product(v.type.shape), NOMINAL), 0);
    return elements <= SMALL ? l : undefined;
  });
  const made = once((s: Step) =>
    madeBy(s).flatMap((v) => [baseOf(v), ...(updates.get(v) ?? []).map(baseOf)]),
  );
  const left: (Step | undefined)[] = [...steps];
  const out: Step[] = [];
  for (let i = 0; i < left.length; i++) {
    const s = left[i];
    if (!s) continue;
    const first = small(s);
    if (!first) {
      out.push(s);
      continue;
    }
    const parts: Launch[] = [first];
    const from: LaunchStep[] = [s as LaunchStep];
    const bound = new Set(first.buffers.map((b) => b.value));
    let used = first.uniforms.length + 1;
    // What is made from here on is not there yet.
    const later = new Set<Value>();
    /** What is read or written from here on: it may not be overwritten earlier than it is. */
    const touched = new Set<Value>();
    const make = (step: Step): void => {
      for (const v of made(step)) later.add(v);
      if (step.kind === "launch")
        for (const l of step.launches.list) for (const b of l.buffers) touched.add(b.value);
    };
    make(s);
    for (let j = i + 1; j < left.length && j <= i + FARTHEST && parts.length < MOST_PARTS; j++) {
      const t = left[j];
      if (!t) continue;
      // What a loop runs is not looked into.
      if (t.kind === "loop") break;
      const l = small(t);
      const fits =
        l !== undefined &&
        l.code.family === first.code.family &&
        l.code.workgroup === first.code.workgroup &&
        l.buffers.every((b) =>
          b.access === "read_write"
            ? !(overwritten.has(b.value) && touched.has(b.value))
            : !later.has(baseOf(b.value)),
        ) &&
        new Set([...bound, ...l.buffers.map((b) => b.value)]).size <= most &&
        used + l.uniforms.length + 1 < words;
      make(t);
      if (!fits || !l) continue;
      parts.push(l);
      from.push(t as LaunchStep);
      for (const b of l.buffers) bound.add(b.value);
      used += l.uniforms.length + 1;
      left[j] = undefined;
    }
    if (parts.length === 1) {
      out.push(s);
      continue;
    }
    const sites = [...new Set(from.map((f) => f.about.site))];
    out.push({
      kind: "launch",
      launches: oneLaunch(beside(parts, target.backend.words)),
      about: { site: sites.join("; "), label: `${from[0].about.label} and ${parts.length - 1} more` },
    });
  }
  return out;
}

/** The function, asked once of each: steps are looked at from all that come before. */
function once<T>(f: (s: Step) => T): (s: Step) => T {
  const known = new Map<Step, T>();
  return (s) => {
    if (!known.has(s)) known.set(s, f(s));
    return known.get(s) as T;
  };
}

/** What a step stores. */
function madeBy(s: Step): readonly Value[] {
  switch (s.kind) {
    case "launch":
      return s.launches.list.flatMap((l) =>
        l.buffers.filter((b) => b.access === "read_write").map((b) => b.value),
      );
    case "pack":
      return [s.whole];
    case "prepare":
      return s.roots;
    case "loop":
      return s.node.outs;
  }
}
