// Kernels that do not wait for each other run side by side in one dispatch: a layer's gradients by its weight and by its
// input, the copies of weights, the sums behind biases. Each launch costs, and few of them fill a device by themselves.
// In: what runs for a graph, in order. Out: the same with fewer launches.
import { add, dim, evaluateAll, mul, NOMINAL, product } from "../../dims/dim.ts";
import type { Graph, Value } from "../../ir/types.ts";
import { beside, found, sharedBeside, type Within, waits } from "../../kernel/beside.ts";
import type { KernelCode, Stmt } from "../../kernel/code.ts";
import { type Launch, oneLaunch, type Step } from "../../kernel/launch.ts";
import { sharedBytes } from "../../kernel/verify.ts";
import { isFlat, isRun } from "../../ops/source.ts";
import { limitOf, type Target } from "../../targets.ts";

/** Elements, at nominal sizes, that a kernel may store earlier than it has to: they live longer. */
const SMALL = 1 << 17;
/** Kernels in one. */
const MOST_PARTS = 8;
/** Words of its uniform block: its text grows with them. */
const MOST_WORDS = 256;
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
    return waits(l) && factsOf(l.code).returns ? undefined : l;
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
  /** Of a step that may stand beside others: what it binds, and the steps before it that it waits for there, last first. */
  const looks = steps.map((_, i): Look | undefined => {
    const l = single[i];
    if (!l) return undefined;
    const waitsFor = new Set<number>();
    for (const b of l.buffers) {
      // What is made from here on is not there yet, to be read or to be written on in (a sort's counts, zeros); what is read or
      // written may not be overwritten earlier than it is.
      for (const k of makers.get(baseOf(b.value)) ?? []) if (k < i) waitsFor.add(k);
      if (b.access === "read_write") for (const k of touchers.get(b.value) ?? []) if (k < i) waitsFor.add(k);
    }
    return {
      launch: l,
      values: [...new Set(l.buffers.map((b) => b.value))],
      waitsFor: [...waitsFor].sort((a, b) => b - a),
      words: wordsOf(l),
      statements: factsOf(l.code).statements,
    };
  });
  // Equal nests are scheduled once; nests of layers that differ in sizes may have the same text all the same.
  const sizesShareIt = ({ launch, statements }: Look): boolean =>
    looks.some(
      (o) =>
        o?.statements === statements &&
        o.launch.code !== launch.code &&
        textOf(o.launch, target) === textOf(launch, target),
    );
  /** The step that a step runs beside: -1 for none. */
  const taken = new Int32Array(steps.length).fill(-1);
  /** Where to look next: the first step behind that may be taken. */
  const next = new Int32Array(steps.length + 1).fill(steps.length);
  for (let i = steps.length - 1, at = steps.length; i >= 0; i--) {
    next[i] = at;
    // What a loop runs is not looked into, and nobody looks past it.
    if (steps[i].kind === "loop") at = steps.length;
    else if (looks[i] && !held.has(steps[i])) at = i;
  }
  const out: Step[] = [];
  for (const [i, s] of steps.entries()) {
    if (taken[i] >= 0) continue;
    const first = looks[i];
    if (!first) {
      out.push(s);
      continue;
    }
    const parts: Look[] = [first];
    const from: LaunchStep[] = [s as LaunchStep];
    const bound = new Bound(within);
    bound.add(first.values);
    let used = first.words;
    let statements = first.statements;
    /** It waits for a step from `i` on that did not run before. */
    const waitsHere = (l: Look): boolean => {
      for (const k of l.waitsFor) {
        if (k < i) return false;
        if (taken[k] < 0 || taken[k] === i) return true;
      }
      return false;
    };
    for (
      let last = i, j = next[i];
      j < steps.length && j <= i + FARTHEST && parts.length < MOST_PARTS;
      j = next[j]
    ) {
      if (taken[j] >= 0) {
        next[last] = next[j];
        continue;
      }
      last = j;
      const l = early[j] || j - i <= NEAR ? looks[j] : undefined;
      const fits =
        l !== undefined &&
        l.launch.code.workgroup === first.launch.code.workgroup &&
        used + l.words < words &&
        statements + l.statements <= target.statements.most &&
        !waitsHere(l) &&
        bound.with(l.values) <= most &&
        memoryOf([...parts, l], target) <= limitOf(target, "maxComputeWorkgroupStorageSize") &&
        (statements + l.statements <= target.statements.shared || ![...parts, l].some(sizesShareIt));
      if (!fits) continue;
      parts.push(l);
      from.push(steps[j] as LaunchStep);
      bound.add(l.values);
      used += l.words;
      statements += l.statements;
      taken[j] = i;
    }
    if (parts.length === 1) {
      out.push(s);
      continue;
    }
    const launches = parts.map((l) => l.launch);
    const sites = [...new Set(from.map((f) => f.about.site))];
    out.push({
      kind: "launch",
      launches: oneLaunch(beside(launches, target.backend.words, within, target.ways)),
      about: { site: sites.join("; "), label: `${from[0].about.label} and ${parts.length - 1} more` },
    });
  }
  return out;
}

interface Look {
  readonly launch: Launch;
  readonly values: readonly Value[];
  readonly waitsFor: readonly number[];
  readonly words: number;
  readonly statements: number;
}

/** Bytes that a workgroup of all of them shares. */
const memoryOf = (parts: readonly Look[], { backend }: Target): number =>
  sharedBytes([...sharedBeside(parts.map((p) => p.launch.code)).values()], backend.rules.bytesOf);

/** Words of a part, and where its buffers may begin. */
const wordsOf = (l: Launch): number => l.uniforms.length + 1 + l.buffers.length;

/** What it is to a device, whatever it is called. */
function textOf({ code, buffers }: Launch, { backend }: Target): string {
  let text = texts.get(code);
  if (text === undefined) {
    ({ text } = backend.print(code, { access: buffers.map((b) => b.access), notes: [], minify: true }));
    texts.set(code, text);
  }
  return text;
}
const texts = new WeakMap<KernelCode, string>();

/** What is asked of a kernel's code, whoever launches it. */
const facts = new WeakMap<KernelCode, { readonly statements: number; readonly returns: boolean }>();
function factsOf(code: KernelCode) {
  let own = facts.get(code);
  if (!own) {
    const count = (list: readonly Stmt[]): number =>
      list.reduce((n, s) => n + 1 + (s.k === "if" || s.k === "for" ? count(s.body) : 0), 0);
    const statements = count(code.body) + code.functions.reduce((n, f) => n + count(f.body), 0);
    own = { statements, returns: returns(code.body) };
    facts.set(code, own);
  }
  return own;
}

/** Values that kernels side by side bind. */
class Bound {
  private readonly within: Lying;
  private readonly values = new Set<Value>();
  /** Those that some of these lie in. */
  private readonly wholes = new Set<Value>();
  /** How many buffers that is: where several lie in a whole, it is bound in their place. */
  private count = 0;

  constructor(within: Lying) {
    this.within = within;
  }
  /** Buffers that they bind together with these. */
  with(more: readonly Value[]): number {
    let n = this.count;
    let fresh: Value[] | undefined;
    for (const v of more) {
      if (this.values.has(v)) continue;
      const whole = this.within(v)?.whole;
      // A whole that others lie in and that does not lie in itself: one buffer, or two.
      const twice = (w: Value, inside: Value | undefined): boolean =>
        inside !== w && (this.wholes.has(w) || (fresh?.includes(w) ?? false));
      const apart = (w: Value): boolean => this.values.has(w) || more.includes(w);
      if (twice(v, whole) || (whole && apart(whole) && this.within(whole)?.whole !== whole))
        return this.of([...new Set([...this.values, ...more])]).size;
      if (whole && (this.wholes.has(whole) || fresh?.includes(whole))) continue;
      if (whole) fresh = [...(fresh ?? []), whole];
      n++;
    }
    return n;
  }
  add(more: readonly Value[]): void {
    for (const v of more) {
      this.values.add(v);
      const whole = this.within(v)?.whole;
      if (whole) this.wholes.add(whole);
    }
    this.count = this.of([...this.values]).size;
  }
  private of(values: readonly Value[]): ReadonlySet<Value> {
    const places = found(values, this.within);
    return new Set(values.map((v) => places.get(v)?.whole ?? v));
  }
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
