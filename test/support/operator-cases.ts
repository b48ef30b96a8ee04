// Calls of operators drawn from a seed: any operator, with shapes, axes, strides, broadcasts, dtypes and values of their own
// (rank 0 to 6, empty tensors, axes of one, sizes that fit no tile, NaN and infinity). In: a number. Out: a worked example
// like those of the definitions, and what became of it under the checks of opcheck.ts.
//
// Nothing here knows an operator by name. What a call may look like follows from the signature: operands that broadcast, one
// operand with axes and words, or else a worked example whose sizes are others; a call that the operator's own rule refuses
// is drawn again.
import { dim, evaluate as evaluateDim } from "../../compiler/core/dims/dim.ts";
import { createBuilder } from "../../compiler/core/ir/build.ts";
import {
  type Dense,
  type DType,
  type OpDef,
  OpError,
  type OpExample,
  type OpParam,
} from "../../compiler/core/ir/types.ts";
import { ANY, isFloat } from "../../compiler/core/ops/define.ts";
import { type Argument, applyOp, exposedOps } from "../../compiler/core/ops/index.ts";
import { input } from "../../compiler/core/ops/source.ts";
import { RANKS } from "../../compiler/core/ops/window.ts";
import { bindSizes, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { buildCase, checkGradient, checkLowering, checkTypes, type OpCase, randomFrom } from "./opcheck.ts";
import { checkStored, type StoredCase, storedCase } from "./stored-cases.ts";

/** Leaves bind data, and what planning makes is tested there. */
export const ELSEWHERE: ReadonlySet<string> = new Set([
  "input",
  "param",
  "state",
  "seed",
  "hyper",
  "constant",
  "outside",
  "full",
  "size",
  "iota",
  "copy",
  "winograd_filter",
  "checkpoint",
  "after",
  "pack",
  "pick",
  "scan",
  "loop",
  "custom",
  "variable",
]);
/** Made by gradients of operators that are tested, which tests them: their operands belong together. */
export const BY_GRADIENT: ReadonlySet<string> = new Set([
  "attention_grad_query",
  "attention_grad_key",
  "arrange",
  "put",
  "put_each",
  ...RANKS.flatMap((rank) =>
    [
      "windows#d_grad",
      "adaptive_max_pool#d_index",
      "adaptive_max_pool#d_grad",
      "max_pool#d_index",
      "max_pool#d_grad",
      "max_pool#d_select",
      "sum_pool#d_grad",
    ].map((name) => name.replace("#", String(rank))),
  ),
]);
/** The operators that calls are drawn of: the language's. What gradients make of their own comes with them. */
export const drawable: readonly OpDef[] = exposedOps.filter((op) => op.examples.length > 0);

export interface Drawn {
  readonly op: OpDef;
  readonly example: OpExample;
  /** Axes whose sizes are symbols, by operand. */
  readonly symbols: readonly (readonly number[])[];
  /** NaN, infinities, zeros and extremes are among the values. */
  readonly special: boolean;
  /** Tried with operands as stored weights, too, where one would be. */
  readonly stored: boolean;
  readonly seed: number;
}

class Dice {
  readonly next: () => number;
  constructor(seed: number) {
    this.next = randomFrom(seed);
  }
  /** low .. high, both among them. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }
  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length - 1)];
  }
  chance(p: number): boolean {
    return this.next() < p;
  }
}

/** Windows: a number an axis. */
const windowed = (op: OpDef): boolean => op.params.some((p) => p.kind === "tuple");

/** Small ones mostly; now and then none, and what is no multiple of anything. */
const SIZES = [0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 13, 17, 33, 67];
/** Of operands that are windows over each other. */
const SMALL = SIZES.filter((n) => n < 10);
/** Of operands that may be stored: more than one word, more than one group. */
const LONG = [...SMALL, 11, 16, 17, 24, 33, 40, 67];
/** The reference is a plain loop. */
const MOST = 1200;
const count = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

function shapeOf(d: Dice, rank: number): number[] {
  for (;;) {
    const shape = Array.from({ length: rank }, () => d.pick(rank > 4 ? SIZES.slice(0, 12) : SIZES));
    if (count(shape) <= MOST) return shape;
  }
}
const rankOf = (d: Dice): number => d.pick([0, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6]);

const isTensor = (p: OpParam): boolean => p.kind === "tensor" || p.kind === "tensors";
const attributes = (op: OpDef): readonly OpParam[] => op.params.filter((p) => !isTensor(p) && !p.implicit);
const SIMPLE = new Set(["axes", "axis", "bool", "name", "float", "int", "dtype"]);

/** Whether the operator's rule takes it. */
function taken(op: OpDef, e: OpExample): boolean {
  const b = createBuilder();
  const args: Record<string, Argument> = { ...(e.attrs as Record<string, Argument>) };
  const values = e.shapes.map((shape, i) =>
    b.make(input, [], { name: `x${i}`, dtype: e.dtypes?.[i] ?? "f32", shape: shape.map((n) => dim(n)) }),
  );
  let next = 0;
  for (const p of op.params) {
    if (p.kind === "tensor" && next < values.length) args[p.name] = values[next++];
    else if (p.kind === "tensors") {
      args[p.name] = values.slice(next);
      next = values.length;
    }
  }
  try {
    const outs = applyOp(b, op, args);
    const work = e.shapes.length > 1 && windowed(op) ? e.shapes : [];
    if (work.reduce((n, s) => n * count(s), 1) > 60_000) return false;
    return outs.every((v) => count(v.type.shape.map((n) => evaluateDim(n, {}))) <= 4 * MOST);
  } catch (e2) {
    if (e2 instanceof OpError) return false;
    throw e2;
  }
}

const accepted = new Map<OpDef, readonly DType[]>();
/** The dtypes that the operands which are numbers may have. */
function dtypesOf(op: OpDef): readonly DType[] {
  let found = accepted.get(op);
  if (!found) {
    found = ANY.filter((to) => op.examples.some((e) => taken(op, inDtype(e, to))));
    accepted.set(op, found);
  }
  return found;
}
/** The example with its numbers in another dtype: its floats, or else what its first operand is. */
function inDtype(e: OpExample, to: DType): OpExample {
  const own = e.shapes.map((_, i): DType => e.dtypes?.[i] ?? "f32");
  const from = own.find(isFloat) ?? own[0];
  if (from === to || from === undefined) return e;
  return { ...e, dtypes: own.map((t) => (t === from ? to : t)), range: undefined, grad: false };
}

function attributeOf(d: Dice, p: OpParam, rank: number, given: unknown): unknown {
  switch (p.kind) {
    case "axis":
      return p.optional && d.chance(0.2) ? undefined : rank === 0 ? given : d.int(-rank, rank - 1);
    case "axes": {
      if (p.optional && d.chance(0.2)) return undefined;
      const some = Array.from({ length: rank }, (_, i) => i).filter(() => d.chance(0.5));
      return some.map((i) => (d.chance(0.3) ? i - rank : i));
    }
    case "bool":
      return d.chance(0.5);
    case "name":
      return p.among ? d.pick(p.among) : given;
    case "int":
      return d.chance(0.5) ? given : d.int(-2, 3);
    default:
      return given;
  }
}

/** One call of the kind that the signature says. `sizes`: of operands that belong together. */
function candidate(d: Dice, op: OpDef, e: OpExample, sizes: readonly number[]): OpExample {
  const attrs = attributes(op);
  const tensors = op.params.filter(isTensor);
  if (op.broadcasts ?? op.fuses === "map") {
    if (tensors.every((p) => p.kind === "tensor" && !p.implicit) && e.shapes.length > 0) {
      const whole = shapeOf(d, rankOf(d));
      const shapes = e.shapes.map((_, i) => {
        const keep = i > 0 && d.chance(0.5) ? d.int(0, whole.length) : 0;
        return whole.slice(keep).map((n) => (d.chance(0.2) ? 1 : n));
      });
      return { ...e, shapes, attrs: drawnAttributes(d, attrs, whole.length, e) };
    }
  }
  if (tensors.length === 1 && tensors[0].kind === "tensor" && attrs.every((p) => SIMPLE.has(p.kind))) {
    const shape = shapeOf(d, rankOf(d));
    return { ...e, shapes: [shape], attrs: drawnAttributes(d, attrs, shape.length, e) };
  }
  // Sizes that are one in the example stay one.
  const others = new Map<number, number>();
  const other = (n: number): number => {
    if (!others.has(n)) others.set(n, d.chance(0.4) ? n : d.pick(sizes));
    return others.get(n) as number;
  };
  // A key of random numbers is as it is.
  const keys = e.shapes.map((_, i) => tensors[Math.min(i, tensors.length - 1)]?.implicit === true);
  let shapes = e.shapes.map((s, i) => (keys[i] ? s : s.map(other)));
  if (d.chance(0.15)) {
    const extra = d.pick([1, 2, 3]);
    const all = d.chance(0.5);
    shapes = shapes.map((s, i) => (!keys[i] && (all || i === 0) ? [extra, ...s] : s));
  }
  const tuples = Object.fromEntries(
    attrs.flatMap((p): [string, unknown][] => {
      if (p.kind !== "tuple" || p.default === undefined || d.chance(0.4)) return [];
      // Paddings begin at 0, strides and dilations at 1.
      const low = Array.isArray(p.default) ? (p.default[0] as number) : (p.default as number);
      return [[p.name, Array.from({ length: p.length as number }, () => d.int(low, low + 2))]];
    }),
  );
  const words = Object.fromEntries(
    attrs.flatMap((p): [string, unknown][] =>
      p.kind === "bool" || p.kind === "name" ? [[p.name, attributeOf(d, p, 0, e.attrs?.[p.name])]] : [],
    ),
  );
  return { ...e, shapes, attrs: { ...e.attrs, ...words, ...tuples } };
}
function drawnAttributes(d: Dice, attrs: readonly OpParam[], rank: number, e: OpExample): OpExample["attrs"] {
  const out: Record<string, unknown> = { ...e.attrs };
  for (const p of attrs) out[p.name] = attributeOf(d, p, rank, e.attrs?.[p.name]);
  return Object.fromEntries(Object.entries(out).filter(([, v]) => v !== undefined));
}

/** The call of a number; the same for as long as this file and the operators are the same. */
export function drawn(seed: number, among: readonly OpDef[] = drawable): Drawn {
  const d = new Dice(seed);
  const op = d.pick(among);
  const dtypes = dtypesOf(op);
  const f32 = dtypes.includes("f32");
  const stored = d.chance(0.5) && storable().includes(op);
  let example: OpExample | undefined;
  for (let tries = 0; tries < 30 && !example; tries++) {
    const e = d.pick(op.examples);
    const to = dtypes.length === 0 || (f32 && d.chance(0.6)) ? undefined : d.pick(dtypes);
    const one = candidate(d, op, to === undefined ? e : inDtype(e, to), stored ? LONG : SMALL);
    if (one.shapes.every((s) => count(s) <= MOST) && taken(op, one)) example = one;
  }
  example ??= d.pick(op.examples);
  const symbols = d.chance(0.3)
    ? example.shapes.map((s) => s.map((n, i) => (n > 1 ? i : -1)).filter((i) => i >= 0))
    : [];
  // Windows over another operand: what is not finite meets padding, which is 0 in kernels, and nothing in the reference.
  const windows = op.params.filter(isTensor).length > 1 && windowed(op);
  const special = d.chance(0.25) && !windows;
  return { op, example, symbols, special, stored, seed };
}

const SPECIAL = [
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  0,
  -0,
  1,
  -1,
  0.5,
  100,
  -100,
];
/**
 * Some of the floats replaced by what is special; in the first operand alone, where operands are more than elements side by
 * side.
 */
export function withSpecials(op: OpDef, data: OpCase["data"], seed: number): Record<string, Dense> {
  const d = new Dice(seed ^ 0x5eed);
  const all = op.broadcasts ?? op.fuses === "map";
  return Object.fromEntries(
    Object.entries(data).map(([name, x]) => [
      name,
      isFloat(x.dtype) && (all || name === "x0")
        ? { ...x, data: x.data.map((v) => (d.chance(0.15) ? d.pick(SPECIAL) : v)) }
        : x,
    ]),
  );
}

export const textOf = ({ op, example, symbols, seed, special }: Drawn): string =>
  `MDL_TEST_SEED=${seed} ${op.name} of ${example.shapes.map((s, i) => `${example.dtypes?.[i] ?? "f32"}[${s.join(", ")}]`).join(", ")} ${JSON.stringify(example.attrs ?? {})}${symbols.length > 0 ? " with symbols" : ""}${special ? " and special values" : ""}`;

/** The case, sizes as symbols where they may be. */
export function built({ op, example, symbols, seed }: Drawn): OpCase {
  if (symbols.length > 0) {
    try {
      const c = buildCase(op, example, seed, symbols);
      if (holds(c)) return c;
    } catch (e) {
      // A size that a rule wants to know, such as a kernel's.
      if (!(e instanceof OpError)) throw e;
    }
  }
  return buildCase(op, example, seed);
}

/** What a call would check. */
function holds(c: OpCase): boolean {
  const sizes = bindSizes(c.graph, c.data);
  return c.b.constraints.every(({ left, relation, right }) => {
    const [l, r] = [evaluateDim(left, sizes), evaluateDim(right, sizes)];
    return relation === "==" ? l === r : relation === ">=" ? l >= r : r !== 0 && l % r === 0;
  });
}

/**
 * The call with weights in few bits in the place of operands: those that products or look-ups alone read, in graphs that
 * `made` makes of it; undefined where there are none.
 */
export function storedOf(
  d: Drawn,
  made: (d: Drawn) => Pick<OpCase, "graph" | "data"> | undefined,
  path?: string,
): StoredCase | undefined {
  const { example, seed } = d;
  const dice = new Dice(seed ^ 0x5707ed);
  const could = example.shapes
    .map((s, i) => ((example.dtypes?.[i] ?? "f32") === "f32" && s.length > 0 && count(s) > 0 ? i : -1))
    .filter((i) => i >= 0);
  // What is stored by more than one is a recurrent layer, say, whose weights a model has all.
  const tried = dice.chance(0.5) ? [could.filter((i) => i > 0)] : [];
  while (could.length > 0) tried.push(could.splice(dice.int(0, could.length - 1), 1));
  for (const operands of tried) {
    // A weight's sizes are numbers.
    const symbols = d.symbols.map((s, i) => (operands.includes(i) ? [] : s));
    const c = operands.length > 0 ? made({ ...d, symbols }) : undefined;
    const names = operands.map((i) => `x${i}`);
    // A view may be in the way of what reads it.
    for (const views of [true, false]) {
      const how = { seed, views, range: example.range, path };
      const stored = c && storedCase(c.graph, c.data, names, how);
      if (stored) return stored;
    }
  }
  return undefined;
}

let known: readonly OpDef[] | undefined;
/** The operators that read weights as products and look-ups do. */
export function storable(): readonly OpDef[] {
  known ??= drawable.filter((op) =>
    op.examples.some((example) => {
      const d = { op, example, symbols: [], special: false, stored: true, seed: 1 };
      return storedOf(d, built) !== undefined;
    }),
  );
  return known;
}

/**
 * Whether indices are inside: what others read has no gradient, which differences would not find. "never" where there is
 * nothing to read.
 */
export function indices(c: OpCase): "inside" | "outside" | "never" {
  const sizes = bindSizes(c.graph, c.data);
  let found: "inside" | "outside" = "inside";
  for (const node of c.graph.nodes)
    for (const { operand, extent } of node.op.indexes?.(
      node.inputs.map((v) => v.type),
      node.attrs,
    ) ?? []) {
      const name = node.inputs[operand].node.attrs.name;
      const data = typeof name === "string" ? c.data[name]?.data : undefined;
      const most = evaluateDim(extent, sizes);
      if (most === 0) return "never";
      if (!data?.every((i) => i >= 0 && i < most)) found = "outside";
    }
  return found;
}

export interface Counts {
  cases: number;
  lowered: number;
  gradients: number;
  /** Gradients that differ from the differences at one draw of values and at no other of three: a kink. */
  kinks: number;
  special: number;
  empty: number;
  scalars: number;
  symbols: number;
  /** With operands in half precision. */
  half: number;
  /** With operands as weights in few bits, as well. */
  stored: number;
  /** Not compared: windows that see padding alone, and reads of operands without elements. */
  nothing: number;
}
export const noCounts = (): Counts => ({
  cases: 0,
  lowered: 0,
  gradients: 0,
  kinks: 0,
  special: 0,
  empty: 0,
  scalars: 0,
  symbols: 0,
  half: 0,
  stored: 0,
  nothing: 0,
});
/** What the interpreter says of a read of an operand without elements. */
const NOWHERE = / read at -?\d+ of 0 /;
/** So many elements have their differences taken. */
const FEW = 40;

/** Types, lowering and gradient of a drawn call; throws with what differs. */
export function checkDrawn(d: Drawn, counts: Counts): void {
  const { op, example } = d;
  const c = built(d);
  const where = indices(c);
  if (where === "never") return;
  counts.cases++;
  const empty = example.shapes.some((s) => s.includes(0));
  if (empty) counts.empty++;
  if (example.shapes.some((s) => s.length === 0)) counts.scalars++;
  if (d.symbols.length > 0) counts.symbols++;
  if (example.dtypes?.includes("f16")) counts.half++;
  checkTypes(op, c);
  // Of what is infinite there are no differences.
  const finite = Object.values(evaluate(c.graph, c.data).results).every((y) => y.data.every(Number.isFinite));
  try {
    counts.lowered += checkLowering(c.graph, d.special ? withSpecials(op, c.data, d.seed) : c.data);
  } catch (e) {
    // Where an operand has no elements a kernel reads what it throws away; the interpreter reads nothing it cannot.
    if (!empty || !NOWHERE.test((e as Error).message)) throw e;
    counts.nothing++;
    return;
  }
  if (d.special) counts.special++;
  const stored = d.stored && where === "inside" ? storedOf(d, built) : undefined;
  if (stored) {
    checkStored(stored);
    counts.stored++;
  }
  const floats = example.shapes.filter((_, i) => (example.dtypes?.[i] ?? "f32") === "f32");
  const smooth = example.grad !== false && !op.noGrad && floats.length > 0;
  if (!smooth || d.special || floats.some((s) => count(s) > FEW) || where !== "inside" || !finite) return;
  try {
    counts.gradients += checkGradient(op, c) > 0 ? 1 : 0;
  } catch (e) {
    if (empty && NOWHERE.test((e as Error).message)) {
      counts.nothing++;
      return;
    }
    for (const other of [1, 2]) {
      const again = built({ ...d, seed: d.seed + other * 7919 });
      if (indices(again) !== "inside") throw e;
      try {
        checkGradient(op, again);
      } catch {
        throw e;
      }
    }
    counts.kinks++;
  }
}
