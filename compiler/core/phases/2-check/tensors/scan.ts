// `scan xt over x axis 1 with s = … { … emit y = s }`: a loop at run time. In: the expression. Out: one scan node whose body
// is a graph. The body is traced into the graph around it; what depends on a slice or a carry is then copied into a graph of
// its own, and what it reads from outside becomes a captured operand. So what does not change in the loop stays outside it.
// A buffer that the body writes is one more carry, and random operations are keyed by the pass.
import { type Dim, print, symbols } from "../../../dims/dim.ts";
import { createBuilder, finishGraph, reachable, sameType, typeText } from "../../../ir/build.ts";
import {
  type Builder,
  type Graph,
  type Node,
  OpError,
  type TensorType,
  type Value,
} from "../../../ir/types.ts";
import type { Sight } from "../../../model.ts";
import { cast } from "../../../ops/axes.ts";
import { isFloat, sizeValue } from "../../../ops/define.ts";
import { add, mul } from "../../../ops/elementwise.ts";
import { sliceAxis } from "../../../ops/movement.ts";
import { makeScan } from "../../../ops/scan.ts";
import { full as fullOp, input as inputOp, iota } from "../../../ops/source.ts";
import type * as ast from "../../../syntax/ast.ts";
import {
  type Ctx,
  evaluate,
  fail,
  inner,
  newState,
  newStores,
  originOf,
  recoverVal,
  type State,
  type Stored,
  sameDim,
  traceOf,
} from "../values/context.ts";
import { asNumber, describe, parts, pathOf, type Slot, tensorVal, type Val } from "../values/values.ts";
import { blockValue } from "./asides.ts";
import { checkGradients } from "./gradient.ts";
import { bindTarget, carriesOf, nextCarries } from "./locals.ts";
import { readSlot } from "./state.ts";
import { commit, write } from "./stores.ts";
import { isLiteral, toTensor } from "./tensors.ts";

let scans = 0;

export function evalScan(ctx: Ctx, e: ast.ScanExpr): Val {
  const trace = traceOf(ctx, e.span, "a scan");
  const { b } = trace;
  const xs = sequences(ctx, e);
  const axis = axisOf(ctx, e, xs[0]);
  const count = xs[0].type.shape[axis];
  const aligned = xs.map((x, i) => (i === 0 ? x : align(ctx, e, x, axis, count)));
  const initial = [...carriesOf(ctx, e.carries)].map(([name, v], i) => ({
    name,
    value: toTensor(ctx, v, e.carries[i].value.span),
  }));
  // Buffers that the body writes are carried: what it writes shows when it was traced once.
  let buffers: readonly Stored[] = [];
  const outside = trace.gradients;
  trace.gradients = [];
  const seen = trace.seen ?? [];
  const mark = seen.length;
  let pass = traceBody(ctx, e, { aligned, axis, count, initial, buffers });
  for (;;) {
    const known = new Set(buffers.map((s) => pathOf(s.slot)));
    const found = [...pass.state.written].flatMap(([path, s]) => (known.has(path) ? [] : [s]));
    if (found.length === 0) break;
    buffers = [...buffers, ...found];
    trace.randoms = pass.randoms;
    trace.gradients = [];
    seen.length = mark;
    pass = traceBody(ctx, e, { aligned, axis, count, initial, buffers });
  }
  const { slices, carried, next, emitted, state, counter } = pass;
  const results = [
    ...initial.map((c, i) => ({ name: c.name, value: next[i] })),
    ...buffers.map(({ slot }) => ({ name: slot.name, value: heldIn(state, slot) })),
    ...[...emitted].map(([name, value]) => ({ name, value })),
  ];
  if (results.length === 0)
    fail(ctx, "E0609", "a scan that carries and emits nothing", e.span, { help: "emit y = …" });
  // What a debug build watches of each pass is emitted, too.
  const leaves = [...slices, ...carried, counter];
  const sights = seenInside(seen.slice(mark), leaves);
  const watched = sights.flatMap((s) =>
    s.value && (s.kind !== "value" || ctx.shared.watch?.(s.name)) ? [{ sight: s, value: s.value }] : [],
  );
  results.push(...watched.map(({ value }, i) => ({ name: `$${i}`, value })));
  const pushes = pushesOf(b, watched);
  // The number of the pass is one more sequence, where it is used.
  const counted = reachable(results.map((r) => r.value)).includes(counter.node);
  const looped = [
    ...aligned,
    ...(counted ? [b.make(iota, [], { extent: count, dtype: "u32" })] : []),
    ...pushes.map(({ slice }) => zerosApart(b, { ...slice.type, shape: [count, ...slice.type.shape] })),
  ];
  const begins = [...initial.map((c) => c.value), ...buffers.map((s) => readSlot(ctx, s.slot, s.span))];
  const inBody = trace.gradients;
  trace.gradients = outside;
  if (inBody.length > 0)
    checkGradients(
      trace,
      inBody,
      new Map([
        ...slices.map((v, i): [Node, Value[]] => [v.node, [aligned[i]]]),
        ...carried.map((v, i): [Node, Value[]] => [v.node, [begins[i], results[i].value]]),
      ]),
    );
  const made = extract(
    `${ctx.fn}.scan`,
    [...slices, ...(counted ? [counter] : []), ...pushes.map(({ slice }) => slice), ...carried],
    results,
    new Map(pushes.flatMap(({ value, slice }): [Value, Value][] => (value ? [[value, slice]] : []))),
  );
  const emitAxes = [
    ...[...emitted.values()].map((v) => Math.min(axis, v.type.shape.length)),
    ...watched.map(() => 0),
  ];
  const outs = b.at(originOf(ctx, e.span), () => {
    try {
      return makeScan(b, [...looped, ...begins, ...made.captured], {
        body: made.body,
        xs: looped.length,
        carries: begins.length,
        axes: looped.map((_, i) => (i < aligned.length ? axis : 0)),
        emitAxes,
        count,
        reverse: false,
      });
    } catch (err) {
      if (!(err instanceof OpError)) throw err;
      return fail(ctx, "E0308", err.message, e.span);
    }
  });
  const kept = new Map(watched.map(({ sight }, i) => [sight, outs[begins.length + emitted.size + i]]));
  const pushed = new Map(
    pushes.flatMap(({ of }, i) => of.map((s) => [s, looped[looped.length - pushes.length + i]] as const)),
  );
  for (const [i, s] of seen.entries())
    if (sights.includes(s)) seen[i] = { ...s, value: kept.get(s), push: pushed.get(s), passes: s.passes + 1 };
  buffers.forEach((s, i) => {
    write(ctx, ctx.stores, { ...s, value: outs[initial.length + i] });
  });
  const fields = new Map<string, Val>();
  [...emitted.keys()].forEach((name, i) => {
    fields.set(name, tensorVal(outs[begins.length + i]));
  });
  initial.forEach((c, i) => {
    fields.set(c.name, tensorVal(outs[i]));
  });
  return fields.size === 1 ? [...fields.values()][0] : { kind: "record", fields };
}

interface Parts {
  readonly aligned: readonly Value[];
  readonly axis: number;
  readonly count: Dim;
  readonly initial: readonly { readonly name: string; readonly value: Value }[];
  /** Buffers that are known to be written. */
  readonly buffers: readonly Stored[];
}
interface Pass {
  readonly slices: readonly Value[];
  /** The author's carries, then the buffers. */
  readonly carried: readonly Value[];
  /** The author's carries for the next pass. */
  readonly next: readonly Value[];
  readonly emitted: ReadonlyMap<string, Value>;
  readonly state: State;
  /** The number of the pass. */
  readonly counter: Value;
  /** Random operations before it. */
  readonly randoms: Map<string, number>;
}

/** One pass of the body, into the graph around it: over slices and carries that are leaves. */
function traceBody(ctx: Ctx, e: ast.ScanExpr, p: Parts): Pass {
  const trace = traceOf(ctx, e.span, "a scan");
  const { b } = trace;
  const { aligned, axis, initial } = p;
  const uid = scans++;
  let place = 0;
  const fresh = (name: string, { dtype, shape }: TensorType): Value =>
    b.make(inputOp, [], { name, dtype, shape: [...shape], scan: uid, place: place++ }, name);
  const names = (e.target.kind === "ident" ? [e.target] : e.target.items).map((t) =>
    t.kind === "ident" ? t.name : undefined,
  );
  const slices = aligned.map(({ type }, i) =>
    fresh(names[i] ?? `x${i}`, { dtype: type.dtype, shape: type.shape.filter((_, k) => k !== axis) }),
  );
  slices.forEach((v, i) => {
    trace.slices.set(v.node, { sequence: aligned[i], axis });
  });
  const own = initial.map((c) => fresh(c.name, c.value.type));
  const held = p.buffers.map(({ slot, value }) => fresh(slot.name, value.type));
  const counter = fresh("pass", { dtype: "u32", shape: [] });
  const body: Ctx = { ...inner(ctx), stores: newStores(ctx.stores) };
  bindTarget(
    body,
    e.target,
    slices.length === 1 && e.target.kind === "ident"
      ? tensorVal(slices[0])
      : { kind: "tuple", items: slices.map(tensorVal) },
    undefined,
    "loop",
  );
  e.carries.forEach((c, i) => {
    body.scope.names.set(c.name.name, { val: tensorVal(own[i]), kind: "carry", span: c.name.span });
  });
  const emitted = new Map<string, Value>();
  const outer = { state: trace.state, pass: trace.pass };
  const randoms = new Map(trace.randoms);
  const state = newState(new Map(p.buffers.map(({ slot }, i) => [pathOf(slot), held[i]])), trace.state);
  trace.state = state;
  // Passes of a loop in a loop are counted on: no two draw the same.
  trace.pass = outer.pass
    ? add(b, mul(b, outer.pass, cast(b, sizeValue(b, p.count), "u32")), counter)
    : counter;
  try {
    for (const s of e.body.statements) {
      if (s.kind !== "emit") ctx.shared.interpreter.statement(body, s);
      else
        recoverVal(() => {
          const { name } = s.name;
          if (emitted.has(name) || initial.some((c) => c.name === name))
            fail(
              body,
              "E0202",
              `${name} is ${emitted.has(name) ? "emitted twice" : "carried, too"}`,
              s.name.span,
            );
          const value = toTensor(body, evaluate(body, s.value), s.value.span);
          emitted.set(name, value);
          return tensorVal(value);
        });
    }
    const result = blockValue(body, e.body, tensorVal(slices[0]));
    const next = nextCarries(body, e.body, e.carries, result).map((v, i) => {
      const span = e.body.result?.span ?? e.carries[i].span;
      const value = toTensor(body, v, span, isLiteral(v) ? initial[i].value.type.dtype : undefined);
      if (!sameType(value.type, initial[i].value.type))
        fail(
          body,
          "E0308",
          `${initial[i].name} begins as ${typeText(initial[i].value.type)} and becomes ${typeText(value.type)}`,
          e.carries[i].span,
          {
            help: "a carried value keeps its type",
          },
        );
      return value;
    });
    commit(body);
    return { slices, carried: [...own, ...held], next, emitted, state, counter, randoms };
  } finally {
    Object.assign(trace, outer);
  }
}

/** Of what has a name in a body, what a pass of it decides. */
function seenInside(seen: readonly Sight[], leaves: readonly Value[]): readonly Sight[] {
  const inside = new Set<Node>(leaves.map((v) => v.node));
  for (const n of reachable(seen.flatMap((s) => s.value ?? [])))
    if (n.inputs.some((v) => inside.has(v.node))) inside.add(n);
  // What a scan in the body did not keep has no value, and is inside all the same.
  return seen.filter((s) => !s.value || inside.has(s.value.node));
}

interface Push {
  /** What a pass adds, a leaf of the body. */
  readonly slice: Value;
  /** What it is added to; undefined where a scan in the body does that. */
  readonly value: Value | undefined;
  readonly of: readonly Sight[];
}

/** Zeros to be added to what is watched inside a scan: a value there has no gradient that anybody outside sees, and they have. */
function pushesOf(b: Builder, watched: readonly { readonly sight: Sight; readonly value: Value }[]): Push[] {
  const of = new Map<Value, Push & { readonly of: Sight[] }>();
  for (const { sight, value } of watched) {
    if (sight.kind !== "value" || !isFloat(value.type.dtype)) continue;
    const key = sight.push ?? value;
    const known = of.get(key);
    if (known) known.of.push(sight);
    else
      of.set(key, {
        slice: sight.push ?? zerosApart(b, value.type),
        value: sight.push ? undefined : value,
        of: [sight],
      });
  }
  return [...of.values()];
}
/** Zeros that are no others. */
const zerosApart = (b: Builder, { dtype, shape }: TensorType): Value =>
  b.make(fullOp, [], { value: 0, dtype, shape: [...shape], apart: scans++ });

/** What a buffer holds at the end of a pass. */
function heldIn(state: State, slot: Slot): Value {
  const path = pathOf(slot);
  return (state.written.get(path)?.value ?? state.carried.get(path)) as Value;
}

function sequences(ctx: Ctx, e: ast.ScanExpr): Value[] {
  const v = evaluate(ctx, e.sequence);
  const items = parts(v) ?? [v];
  const want = e.target.kind === "ident" ? 1 : e.target.items.length;
  if (items.length !== want)
    fail(
      ctx,
      "E0609",
      `${want} ${want === 1 ? "name" : "names"} for ${items.length} sequences`,
      e.target.span,
    );
  return items.map((i) => toTensor(ctx, i, e.sequence.span));
}

function axisOf(ctx: Ctx, e: ast.ScanExpr, x: Value): number {
  const v = evaluate(ctx, e.axis);
  const n = asNumber(v);
  const rank = x.type.shape.length;
  if (v.kind !== "int" || n === undefined)
    return fail(ctx, "E0506", `an axis is a static int, not ${describe(v)}`, e.axis.span);
  if (n < -rank || n >= rank)
    fail(ctx, "E0305", `axis ${n} of ${typeText(x.type)}`, e.axis.span, { label: `${rank} axes` });
  return n < 0 ? n + rank : n;
}

/** A further sequence must be as long as the first; where that shows at the call only, it is cut to that length. */
function align(ctx: Ctx, e: ast.ScanExpr, x: Value, axis: number, count: Dim): Value {
  const own = x.type.shape[axis];
  const what = (): string =>
    `the sequences of a scan have ${print(count)} and ${own ? print(own) : "no"} slices`;
  if (!own || sameDim(ctx, count, own, what, e.sequence.span) === "differ")
    fail(ctx, "E0301", what(), e.sequence.span);
  return own.key === count.key ? x : sliceAxis(traceOf(ctx, e.span, "a scan").b, x, axis, 0, count);
}

/** True for nodes that cost nothing to have in a body: literals and sizes. */
const literalNode = (n: Node): boolean => n.inputs.length === 0 && n.op.fuses === "map";

function extract(
  name: string,
  inputs: readonly Value[],
  results: readonly { readonly name: string; readonly value: Value }[],
  /** What is added to a value, for all that read it. */
  pushes: ReadonlyMap<Value, Value>,
): { body: Graph; captured: readonly Value[] } {
  const order = reachable(results.map((r) => r.value));
  const inside = new Set<Node>(inputs.map((v) => v.node));
  for (const n of order) if (n.inputs.some((v) => inside.has(v.node))) inside.add(n);
  const b = createBuilder();
  const map = new Map<Value, Value>();
  const bodyInputs: Node[] = [];
  const addInput = (v: Value, label: string): Value => {
    const made = b.make(
      inputOp,
      [],
      { name: `${label}${bodyInputs.length}`, dtype: v.type.dtype, shape: [...v.type.shape] },
      v.node.label ?? label,
    );
    bodyInputs.push(made.node);
    map.set(v, made);
    return made;
  };
  const pushed = (v: Value, made: Value): void => {
    const push = pushes.get(v);
    map.set(v, push ? b.at(v.node.origin, () => add(b, made, map.get(push) as Value)) : made);
  };
  for (const v of inputs) addInput(v, "in");
  for (const v of inputs) pushed(v, map.get(v) as Value);
  const captured: Value[] = [];
  const inBody = (v: Value): Value => {
    const known = map.get(v);
    if (known) return known;
    if (literalNode(v.node)) {
      const outs = b.at(v.node.origin, () => b.node(v.node.op, [], v.node.attrs, v.node.label));
      map.set(v, outs[v.index]);
      return outs[v.index];
    }
    captured.push(v);
    return addInput(v, "captured");
  };
  for (const n of order) {
    if (!inside.has(n) || map.has(n.outs[0])) continue;
    const operands = n.inputs.map(inBody);
    const outs = b.at(n.origin, () => b.node(n.op, operands, n.attrs, n.label));
    n.outs.forEach((v, i) => {
      pushed(v, outs[i]);
    });
  }
  const used = new Set<string>();
  const bodyResults = results.map((r) => ({ name: r.name, value: inBody(r.value) }));
  for (const n of reachable(bodyResults.map((r) => r.value)))
    for (const v of n.outs) for (const d of v.type.shape) symbols(d, used);
  return {
    body: finishGraph({ name, inputs: bodyInputs, results: bodyResults, symbols: [...used] }),
    captured,
  };
}
