// Kernels that do not wait for each other run side by side in one dispatch: a layer's gradients by its weight and by its
// input, the copies of weights, the sums behind biases. Each launch costs, and few of them fill a device by themselves.
// In: what runs for a graph, in order. Out: the same with fewer launches.
import { add, dim, evaluateAll, mul, NOMINAL, product } from "../../dims/dim.ts";
import type { Graph, Value } from "../../ir/types.ts";
import { beside, found, type Within, waits } from "../../kernel/beside.ts";
import type { Stmt } from "../../kernel/code.ts";
import { type Launch, oneLaunch, type Step } from "../../kernel/launch.ts";
import { isFlat, isRun } from "../../ops/source.ts";
import { limitOf, type Target } from "../../targets.ts";

/** Elements, at nominal sizes, that a kernel may store earlier than it has to: they live longer. */
const SMALL = 1 << 17;
/** Kernels in one. */
const MOST_PARTS = 8;
/** Words of its uniform block, and statements: its text grows with both. */
const MOST_WORDS = 256;
const MOST_STATEMENTS = 600;
/** Steps that a kernel is taken forward over; so many, whatever it stores. */
const FARTHEST = 400;
const NEAR = 8;

type LaunchStep = Extract<Step, { kind: "launch" }>;

/** Where values lie within others: parameters in all of them, gradients in what they are packed into. */
export type Lying = (v: Value) => Within | undefined;
/** The flat tensor that a parameter lies in, by path, and where, in elements. */
export type FlatPlaces = (path: string) => { readonly path: string; readonly offset: number } | undefined;

/** Which values lie in others: operands of packs, and parameters, where the graph knows all of them as one. */
export function lyingIn(
  steps: readonly Step[],
  graph: Graph,
  alias: ReadonlyMap<Value, Value>,
  flat?: FlatPlaces,
): Lying {
  const places = new Map<Value, Within>();
  for (const s of steps)
    if (s.kind === "pack") {
      // Itself, too: who reads one of its operands beside a kernel that reads all of them binds it once.
      places.set(s.whole, { whole: s.whole, at: dim(0) });
      for (const { value, offset } of s.parts)
        if (value.type.dtype === s.whole.type.dtype)
          places.set(alias.get(value) ?? value, { whole: s.whole, at: dim(offset) });
    }
  const params = graph.nodes.filter((n) => n.op.name === "param");
  const byPath = new Map(params.map((n) => [n.attrs.path, n.outs[0]]));
  for (const n of params) {
    const at = flat?.(String(n.attrs.path));
    const whole = at && byPath.get(at.path);
    const before = mul(Number(n.attrs.from ?? 0), ...n.outs[0].type.shape.slice(1));
    if (whole) places.set(n.outs[0], { whole, at: add(at.offset, before) });
  }
  // A view of what is stored is those bytes.
  return (v) => places.get(alias.get(v) ?? v);
}

export function runBeside(
  steps: readonly Step[],
  routine: { readonly alias: ReadonlyMap<Value, Value>; readonly inPlace: ReadonlyMap<Value, Value> },
  target: Target,
  within: Lying = () => undefined,
  /** Those that run no earlier than where they stand. */
  held: ReadonlySet<Step> = new Set(),
): Step[] {
  const most = limitOf(target, "maxStorageBuffersPerShaderStage");
  const words = Math.min(MOST_WORDS, limitOf(target, "maxUniformWords"));
  const baseOf = (v: Value): Value => routine.alias.get(v) ?? v;
  const overwritten = new Set(routine.inPlace.values());
  const updates = new Map<Value, Value[]>();
  for (const [root, source] of routine.inPlace) updates.set(source, [...(updates.get(source) ?? []), root]);
  /** Bytes that have several names (all parameters at once, and one) are not told apart here. */
  const shared = (v: Value): boolean => isFlat(v.node.attrs.path) || isRun(v.node.attrs.path);
  const nominal = (list: readonly Value[]): number =>
    list.reduce((n, v) => n + evaluateAll(product(v.type.shape), NOMINAL), 0);
  /** A step that may stand beside others. */
  const singleOf = (s: Step): Launch | undefined => {
    if (s.kind !== "launch" || s.launches.list.length !== 1) return undefined;
    const [l] = s.launches.list;
    const stored = l.buffers.filter((b) => b.access === "read_write").map((b) => b.value);
    if (stored.some((v) => overwritten.has(v) && shared(v))) return undefined;
    return waits(l) && returns(l.code.body) ? undefined : l;
  };
  /** Whether it may run as soon as it can: what it stores then lives longer, and what it reads may live shorter. */
  const isEarly = (l: Launch | undefined): boolean => {
    if (!l) return false;
    const [stored, read] = [true, false].map((is) =>
      l.buffers.filter((b) => (b.access === "read_write") === is).map((b) => b.value),
    );
    const more = nominal(stored.filter((v) => !within(v)));
    return more <= SMALL || more <= nominal(read.filter((v) => v.node.op.fuses !== "source"));
  };
  const single = steps.map(singleOf);
  const early = single.map(isEarly);
  /** Where a value is made, and where one that is overwritten is read or written. */
  const makers = new Map<Value, number[]>();
  const touchers = new Map<Value, number[]>();
  const note = (by: Map<Value, number[]>, v: Value, i: number): void => {
    const list = by.get(v);
    if (list) list.push(i);
    else by.set(v, [i]);
  };
  steps.forEach((s, i) => {
    for (const v of madeBy(s)) for (const m of [v, ...(updates.get(v) ?? [])]) note(makers, baseOf(m), i);
    if (s.kind === "launch")
      for (const l of s.launches.list)
        for (const b of l.buffers) if (overwritten.has(b.value)) note(touchers, b.value, i);
  });
  const left: (Step | undefined)[] = [...steps];
  /** The step that a step runs beside. */
  const taken = new Map<number, number>();
  const out: Step[] = [];
  for (let i = 0; i < left.length; i++) {
    const s = left[i];
    if (!s) continue;
    const first = single[i];
    if (!first) {
      out.push(s);
      continue;
    }
    const parts: Launch[] = [first];
    const from: LaunchStep[] = [s as LaunchStep];
    const bound = new Set(first.buffers.map((b) => b.value));
    let used = wordsOf(first);
    let statements = statementsOf(first);
    /** One of these is a step from here on to the one before `j`, which did not run before. */
    const among = (places: readonly number[] | undefined, j: number): boolean =>
      places?.some((k) => k >= i && k < j && (taken.get(k) ?? i) === i) ?? false;
    for (let j = i + 1; j < left.length && j <= i + FARTHEST && parts.length < MOST_PARTS; j++) {
      const t = left[j];
      if (!t) continue;
      // What a loop runs is not looked into.
      if (t.kind === "loop") break;
      if (held.has(t)) continue;
      const l = early[j] || j - i <= NEAR ? single[j] : undefined;
      const fits =
        l !== undefined &&
        l.code.workgroup === first.code.workgroup &&
        used + wordsOf(l) < words &&
        statements + statementsOf(l) <= MOST_STATEMENTS &&
        // What is made from here on is not there yet, to be read or to be written on in (a sort's counts, zeros); what is read
        // or written may not be overwritten earlier than it is.
        l.buffers.every(
          (b) =>
            !among(makers.get(baseOf(b.value)), j) &&
            !(b.access === "read_write" && among(touchers.get(b.value), j)),
        ) &&
        bindings([...bound, ...l.buffers.map((b) => b.value)], within) <= most;
      if (!fits || !l) continue;
      parts.push(l);
      from.push(t as LaunchStep);
      for (const b of l.buffers) bound.add(b.value);
      used += wordsOf(l);
      statements += statementsOf(l);
      left[j] = undefined;
      taken.set(j, i);
    }
    if (parts.length === 1) {
      out.push(s);
      continue;
    }
    const sites = [...new Set(from.map((f) => f.about.site))];
    out.push({
      kind: "launch",
      launches: oneLaunch(beside(parts, target.backend.words, within, target.ways)),
      about: { site: sites.join("; "), label: `${from[0].about.label} and ${parts.length - 1} more` },
    });
  }
  return out;
}

/** Words of a part, and where its buffers may begin. */
const wordsOf = (l: Launch): number => l.uniforms.length + 1 + l.buffers.length;
const statementsOf = ({ code }: Launch): number => {
  const count = (list: readonly Stmt[]): number =>
    list.reduce((n, s) => n + 1 + (s.k === "if" || s.k === "for" ? count(s.body) : 0), 0);
  return count(code.body) + code.functions.reduce((n, f) => n + count(f.body), 0);
};
/** Buffers that kernels with these values bind. */
function bindings(values: readonly Value[], within: Lying): number {
  const places = found(values, within);
  return new Set(values.map((v) => places.get(v)?.whole ?? v)).size;
}
/** Some thread may leave it before the others. */
const returns = (body: readonly Stmt[]): boolean =>
  body.some((s) => s.k === "return" || ((s.k === "if" || s.k === "for") && returns(s.body)));

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
