// A train block as one graph: loss, gradients, clipping, update. In: the loss in train mode, the optimiser, where each
// parameter lies in the flat buffer. Out: a graph whose writes are all parameters at once, the moments, the counters and the
// running statistics; every one of them gated by a finite flag, so that a bad step changes nothing. Parameters, gradients
// and moments are flat, so that the update is one kernel a dtype however many tensors there are. It is computed in f32 and
// rounded once to what the parameters are. Formulas are PyTorch's.

import type { HostExpr, Init } from "../../../../runtime/core/program.ts";
import { backward } from "../../autodiff/backward.ts";
import { asConst, type Dim, dim, isConst, product } from "../../dims/dim.ts";
import { createBuilder, finishGraph } from "../../ir/build.ts";
import type { Builder, Graph, Value } from "../../ir/types.ts";
import type { CheckedModel, CheckedTrain } from "../../model.ts";
import { broadcastTo, cast, reshape, sum } from "../../ops/axes.ts";
import { pack } from "../../ops/copy.ts";
import { isFloat } from "../../ops/define.ts";
import {
  abs,
  add,
  and,
  div,
  eq,
  expm1,
  isFiniteOp,
  lt,
  maximum,
  minimum,
  mul,
  neg,
  not,
  or,
  rsqrt,
  sqrt,
  square,
  sub,
  where,
} from "../../ops/elementwise.ts";
import { type FlatParams, inRows, type ParamUse, type Rows } from "../../ops/flat.ts";
import { sliceOp } from "../../ops/movement.ts";
import { full, GRAIN, hyper, param, RANDOM_STEP, RUN, state } from "../../ops/source.ts";
import { type Formula, formulaOf } from "./alike.ts";

export interface StepState {
  readonly path: string;
  readonly dtype: "f32" | "i32";
  readonly shape: readonly number[];
  readonly init: Init;
}
export interface TrainStep {
  readonly graph: Graph;
  readonly hyper: Readonly<Record<string, HostExpr>>;
  /** Moments and counters of the optimiser. */
  readonly state: readonly StepState[];
  /** Buffers that are written as one. */
  readonly runs: readonly BufferRun[];
  readonly flag: string;
}
/** Buffers of f32 that lie one after the other, as one state tensor; places in elements from `offset` (bytes). */
export interface BufferRun {
  readonly path: string;
  readonly offset: number;
  readonly total: number;
  readonly members: readonly { readonly path: string; readonly at: number }[];
}
/** Elements of f32 between the beginnings of written buffers when they are put side by side: 256 bytes, as in the state. */
const APART = 64;
/** The least number that rounds to infinity in f16. */
const F16_END = 65520;

/** The first part of a step: the loss and what it is to the parameters. Where they lie is decided by it. */
export interface Gradients {
  readonly b: Builder;
  readonly loss: Value;
  /** By path. As in PyTorch, what no gradient reaches is left alone: it does not decay either. */
  readonly reached: ReadonlyMap<string, Value>;
}
export function gradientsOf(model: CheckedModel, train: CheckedTrain): Gradients {
  const { lossGraph } = train;
  const b = createBuilder(1 + Math.max(0, ...lossGraph.nodes.map((n) => n.id)));
  const loss = (lossGraph.results.find((r) => r.name === "loss") ?? lossGraph.results[0]).value;
  const updated = new Set(train.update);
  const leaves = new Map<string, Value>();
  for (const n of lossGraph.nodes)
    if (n.op.name === "param" && updated.has(String(n.attrs.path)))
      leaves.set(String(n.attrs.path), n.outs[0]);
  const paths = model.params.map((p) => p.path).filter((p) => leaves.has(p));
  const grads = backward(
    b,
    [loss],
    [b.make(full, [], { value: 1, dtype: loss.type.dtype, shape: [] })],
    paths.map((p) => leaves.get(p) as Value),
  );
  const reached = new Map(paths.flatMap((p, i) => (grads[i] ? [[p, grads[i]] as const] : [])));
  return { b, loss, reached };
}
/** What the step does with each parameter. */
export function useOf(train: CheckedTrain, { reached }: Gradients): ParamUse {
  const spared = new Set(train.optimizer.noDecay);
  return {
    block: train.name,
    trained: new Set(reached.keys()),
    decays: new Set([...reached.keys()].filter((p) => !spared.has(p))),
  };
}

export function trainStep(
  train: CheckedTrain,
  { b, loss, reached }: Gradients,
  flats: readonly FlatParams[],
  /** Byte offsets of the author's buffers, each a multiple of 256. */
  buffers: ReadonlyMap<string, number>,
): TrainStep {
  const { lossGraph } = train;

  // Host scalars.
  const opt = train.optimizer;
  const arg = (name: string, otherwise: number): HostExpr => opt.args[name] ?? otherwise;
  const hypers: Record<string, HostExpr> = { lr: arg("lr", 1e-3) };
  const weightDecay = arg("weight_decay", opt.kind === "adamw" ? 1e-2 : 0);
  const decays = weightDecay !== 0;
  if (decays) hypers.decay = opt.kind === "adamw" ? ["*", "lr", weightDecay] : weightDecay;
  const names = Object.keys(hypers);
  const scalars = b.make(hyper, [], { names }, "schedule");
  const host = (name: string): Value =>
    reshape(
      b,
      b.make(sliceOp, [scalars], { starts: [dim(names.indexOf(name))], sizes: [dim(1)], steps: [1] }),
      [],
    );

  // Flat gradients, in f32 whatever the parameters are.
  const states: StepState[] = [];
  const moment = (name: string, total: number): Value => {
    const path = `${train.name}.${name}`;
    states.push({ path, dtype: "f32", shape: [total], init: { kind: "constant", value: 0 } });
    return b.make(state, [], { path, dtype: "f32", shape: [dim(total)] }, name);
  };
  // Counters: finished steps, and the first bad one (1 + its number; 0 while all were good).
  const counter = (name: string): Value => {
    const path = `${train.name}.${name}`;
    states.push({ path, dtype: "i32", shape: [], init: { kind: "constant", value: 0 } });
    return b.make(state, [], { path, dtype: "i32", shape: [] }, name);
  };
  const steps = counter("step");
  const firstBad = counter("first_bad_step");
  const count = add(b, steps, 1);
  /**
   * Adam's bias correction: 1 - beta ^ count. The count is the device's, which a bad step leaves alone; the host's number of
   * the step, which schedules follow, goes on.
   */
  const correction = (beta: number): Value =>
    beta === 0 ? fill(b, 1) : neg(b, expm1(b, mul(b, cast(b, count, "f32"), Math.log(beta))));
  /** What Adam's second moments and its steps are multiplied by: side by side, so that the update binds one buffer for both. */
  const factors = (): readonly Value[] => {
    const list = [
      rsqrt(b, correction(Number(arg("beta2", 0.999)))),
      div(b, host("lr"), correction(Number(arg("beta1", 0.9)))),
    ];
    const offsets = list.map((_, i) => i * APART);
    const packed = b.make(
      pack,
      list.map((v) => reshape(b, v, [dim(1)])),
      { offsets, total: list.length * APART },
      "factors",
    );
    return offsets.map((at) =>
      reshape(b, b.make(sliceOp, [packed], { starts: [dim(at)], sizes: [dim(1)], steps: [1] }), []),
    );
  };
  const groups = flats.flatMap((flat): Group[] => {
    const list = [...reached].filter(([path]) => flat.offsets.has(path));
    if (list.length === 0) return [];
    const gradient = b.make(
      pack,
      list.map(([, g]) => cast(b, reshape(b, g, [product(g.type.shape)]), "f32")),
      { offsets: list.map(([path]) => flat.offsets.get(path) as number), total: flat.total },
      "gradients",
    );
    const { path, dtype, total } = flat;
    const suffix = dtype === "f32" ? "" : `.${dtype}`;
    const moments =
      opt.kind !== "sgd" ? ["exp_avg", "exp_avg_sq"] : momentumOf(opt) !== 0 ? ["momentum"] : [];
    return [
      {
        flat,
        gradient,
        param: b.make(param, [], { path, dtype, shape: [dim(total)] }, "parameters"),
        moments: moments.map((m) => ({
          path: `${train.name}.${m}${suffix}`,
          old: moment(m + suffix, total),
        })),
      },
    ];
  });
  const clip = train.clip && clipping(b, train.clip, groups);

  // What the step would write. The flag and the writes each compute it, over rows of their own: so neither stores it.
  const updateOver = (g: Group, shape: readonly Dim[]): Update => {
    const spread = (v: Value): Value => broadcastTo(b, v, shape);
    const over = (v: Value): Value => reshape(b, v, shape);
    const decay = (): Value => {
      const d = spread(host("decay"));
      return g.flat.decays ? where(b, inRows(b, g.flat.decays, shape), d, 0) : d;
    };
    const p = cast(b, over(g.param), "f32");
    let grad = over(g.gradient);
    if (clip) grad = clip(grad);
    if (opt.kind === "sgd") {
      if (decays) grad = add(b, grad, mul(b, p, decay()));
      const momentum = momentumOf(opt);
      let direction = grad;
      const moments: Value[] = [];
      if (momentum !== 0) {
        const buffer = add(b, mul(b, over(g.moments[0].old), momentum), grad);
        moments.push(buffer);
        direction = opt.nesterov ? add(b, grad, mul(b, buffer, momentum)) : buffer;
      }
      return { moments, param: sub(b, p, mul(b, direction, spread(host("lr")))) };
    }
    const beta1 = Number(arg("beta1", 0.9));
    const beta2 = Number(arg("beta2", 0.999));
    let start = p;
    if (decays && opt.kind === "adam") grad = add(b, grad, mul(b, p, decay()));
    if (decays && opt.kind === "adamw") start = mul(b, p, sub(b, fill(b, 1), decay()));
    const [m0, v0] = g.moments.map((m) => over(m.old));
    const m = add(b, mul(b, m0, beta1), mul(b, grad, 1 - beta1));
    const v = add(b, mul(b, v0, beta2), mul(b, square(b, grad), 1 - beta2));
    const [root, rate] = factors().map(spread);
    const denominator = add(b, mul(b, sqrt(b, v), root), Number(arg("eps", 1e-8)));
    return { moments: [m, v], param: sub(b, start, mul(b, div(b, m, denominator), rate)) };
  };

  const flatten = (v: Value): Value => cast(b, reshape(b, v, [product(v.type.shape)]), "f32");
  const isFine = (v: Value): Value => sum(b, isBad(finite(b, flatten(v))), [0]);
  // Parameters that the loss stores into (a target network, an average): none of them is trained by this block.
  const stored = lossGraph.writes.filter((w) => w.path !== RANDOM_STEP && !buffers.has(w.path));
  // The finite flag: anything bad in the loss, the gradients, or what would be written.
  const isBad = (ok: Value): Value => cast(b, not(b, ok), "f32");
  let bad = isBad(finite(b, loss));
  for (const g of groups) {
    const { row, total } = g.flat;
    const shape = [dim(GRAIN), dim(total / GRAIN / row), dim(row)];
    const next = updateOver(g, shape);
    const checked = [reshape(b, g.gradient, shape), ...next.moments, next.param].map((v) => finite(b, v));
    if (g.flat.dtype === "f16") checked.push(lt(b, abs(b, next.param), F16_END));
    // What lies between trained parameters is not looked at.
    const others = g.flat.trained && not(b, inRows(b, g.flat.trained, shape));
    const fine = checked.reduce((x, y) => and(b, x, y));
    const looked = others ? or(b, fine, others) : fine;
    const perRow = sum(b, isBad(looked), [1, 2]);
    bad = add(b, bad, sum(b, perRow, [0]));
  }
  const kept = lossGraph.writes.filter((w) => w.path !== RANDOM_STEP && buffers.has(w.path));
  for (const w of stored) bad = add(b, bad, isFine(w.value));
  const offsetOf = (path: string): number => buffers.get(path) as number;
  const floats = kept
    .filter((w) => isFloat(w.value.type.dtype) && !isConst(product(w.value.type.shape), 0))
    .sort((x, y) => offsetOf(x.path) - offsetOf(y.path));
  const sizeOf = (w: { readonly value: Value }): number =>
    Math.ceil((asConst(product(w.value.type.shape)) as number) / APART) * APART;
  // What one formula writes to buffers side by side is written by it once, over all of them.
  const runs: BufferRun[] = [];
  const byFormula = formulasOf(b, floats, offsetOf, sizeOf).map(({ of, members }) => {
    const run = runOf(members, offsetOf, sizeOf);
    runs.push(run);
    const shape = [dim(run.total)];
    const old = b.make(state, [], { path: run.path, dtype: "f32", shape }, "buffers");
    const beside = members[0].beside.map((_, i) =>
      b.make(
        pack,
        members.map((m) => flatten(m.beside[i])),
        { offsets: run.members.map((m) => m.at), total: run.total },
        "written",
      ),
    );
    // As with parameters: the flag and the write each compute it, over rows of their own.
    const row = (v: Value): Value => reshape(b, v, [dim(1), dim(run.total)]);
    bad = add(b, bad, sum(b, isBad(finite(b, of(b, row(old), beside.map(row))))));
    const next = of(b, old, beside);
    return { path: run.path, old, next };
  });
  const formed = new Set(runs.flatMap((r) => r.members.map((m) => m.path)));
  const rest = floats.filter((w) => !formed.has(w.path));
  let written: Value | undefined;
  const placed = runOf(rest, offsetOf, sizeOf).members;
  if (rest.length > 0) {
    // Side by side, as they lie in the state: one reduction sees all of them, and what lies together is written as one.
    const total = rest.reduce((n, w) => n + sizeOf(w), 0);
    written = b.make(
      pack,
      rest.map((w) => flatten(w.value)),
      { offsets: placed.map((p) => p.at), total },
      "written",
    );
    bad = add(b, bad, isFine(written));
  }
  const ok = eq(b, bad, 0);

  const writes: { path: string; value: Value }[] = [];
  const gate = (next: Value, old: Value): Value => where(b, broadcastTo(b, ok, next.type.shape), next, old);
  for (const g of groups) {
    const shape = [dim(g.flat.total / g.flat.row), dim(g.flat.row)];
    const next = updateOver(g, shape);
    // What is stored between trained parameters is written with them.
    const beside = storedIn(b, g.flat, stored, flatten);
    const commit = (path: string, value: Value, old: Value): void => {
      const before = reshape(b, old, shape);
      let after = g.flat.trained ? where(b, inRows(b, g.flat.trained, shape), value, before) : value;
      if (beside && path === g.flat.path)
        after = where(b, inRows(b, beside.rows, shape), reshape(b, beside.value, shape), after);
      writes.push({ path, value: reshape(b, gate(after, before), [dim(g.flat.total)]) });
    };
    g.moments.forEach((m, i) => {
      commit(m.path, next.moments[i], m.old);
    });
    commit(g.flat.path, cast(b, next.param, g.flat.dtype), g.param);
  }

  writes.push({ path: `${train.name}.step`, value: gate(count, steps) });
  const isFirst = and(b, eq(b, firstBad, 0), not(b, ok));
  const nextBad = where(b, isFirst, count, firstBad);
  writes.push({ path: `${train.name}.first_bad_step`, value: nextBad });
  // Buffers are gated like parameters, whatever they hold; the random step goes on, or a bad draw would come back for ever.
  for (const { path, old, next } of byFormula) writes.push({ path, value: gate(next, old) });
  for (const list of adjacent(rest, offsetOf, sizeOf)) {
    if (list.length < 2) continue;
    const run = runOf(list, offsetOf, sizeOf);
    runs.push(run);
    const at = placed[rest.indexOf(list[0])].at;
    const shape = [dim(run.total)];
    const old = b.make(state, [], { path: run.path, dtype: "f32", shape }, "buffers");
    const next = b.make(sliceOp, [written as Value], { starts: [dim(at)], sizes: shape, steps: [1] });
    writes.push({ path: run.path, value: gate(next, old) });
  }
  const together = new Set(runs.flatMap((r) => r.members.map((m) => m.path)));
  const inFlats = (path: string): boolean => groups.some((g) => g.flat.offsets.has(path));
  for (const w of lossGraph.writes) {
    if (together.has(w.path) || inFlats(w.path)) continue;
    const { dtype, shape } = w.value.type;
    const leaf = stored.includes(w) ? param : state;
    const old =
      lossGraph.nodes.find((n) => n.op === leaf && n.attrs.path === w.path)?.outs[0] ??
      b.make(leaf, [], { path: w.path, dtype, shape });
    writes.push(w.path === RANDOM_STEP ? w : { path: w.path, value: gate(w.value, old) });
  }
  // Figures are read as f32.
  const figure = (v: Value): Value => (v.type.dtype === "f16" ? cast(b, v, "f32") : v);
  const results = [
    { name: "loss", value: figure(loss) },
    ...train.reports.map((name) => ({
      name,
      value: figure((lossGraph.results.find((r) => r.name === name) as Graph["results"][number]).value),
    })),
    { name: "bad_step", value: nextBad },
  ];
  return {
    graph: finishGraph({
      name: `${train.name}_step`,
      inputs: lossGraph.inputs,
      results,
      writes,
      symbols: lossGraph.symbols,
      constraints: lossGraph.constraints,
      indexes: lossGraph.indexes,
    }),
    hyper: hypers,
    state: states,
    runs,
    flag: "bad_step",
  };
}

type Write = Graph["writes"][number];
/** f32 buffers that lie one behind the other, as far as each goes on; others by themselves. */
function adjacent<T extends Write>(
  list: readonly T[],
  offsetOf: (path: string) => number,
  sizeOf: (w: T) => number,
): T[][] {
  const out: T[][] = [];
  let end = -1;
  for (const w of list) {
    const single = w.value.type.dtype !== "f32";
    const offset = offsetOf(w.path);
    if (!single && offset === end) out[out.length - 1].push(w);
    else out.push([w]);
    end = single ? -1 : offset + 4 * sizeOf(w);
  }
  return out;
}
/** Buffers as one tensor, whose places begin at 0. */
function runOf<T extends Write>(
  list: readonly T[],
  offsetOf: (path: string) => number,
  sizeOf: (w: T) => number,
): BufferRun {
  let total = 0;
  const members = list.map((w) => {
    const at = total;
    total += sizeOf(w);
    return { path: w.path, at };
  });
  const offset = list.length ? offsetOf(list[0].path) : 0;
  return { path: `${RUN}.${offset}.${total}`, offset, total, members };
}
/** Two and more buffers side by side that one formula writes. */
function formulasOf<T extends Write>(
  b: Builder,
  list: readonly T[],
  offsetOf: (path: string) => number,
  sizeOf: (w: T) => number,
): {
  readonly of: Formula["of"];
  readonly members: readonly (T & { readonly beside: readonly Value[] })[];
}[] {
  return adjacent(list, offsetOf, sizeOf).flatMap((run) => {
    const out: { key: string; of: Formula["of"]; members: (T & { readonly beside: readonly Value[] })[] }[] =
      [];
    let last: string | undefined;
    for (const w of run) {
      const f = w.value.type.dtype === "f32" ? formulaOf(b, w.value, w.path) : undefined;
      if (f && f.key === last) out[out.length - 1].members.push({ ...w, beside: f.beside });
      else if (f) out.push({ key: f.key, of: f.of, members: [{ ...w, beside: f.beside }] });
      last = f?.key;
    }
    return out.filter((f) => f.members.length > 1);
  });
}

/** What is stored into parameters of a flat tensor, in their places, and the rows that they take. */
function storedIn(
  b: Builder,
  { offsets, row, total, dtype }: FlatParams,
  stored: readonly Write[],
  flatten: (v: Value) => Value,
): { readonly rows: readonly Rows[]; readonly value: Value } | undefined {
  const own = stored
    .flatMap((w) => {
      const at = offsets.get(w.path);
      return at === undefined ? [] : [{ at, value: flatten(w.value) }];
    })
    .sort((x, y) => x.at - y.at);
  if (own.length === 0) return undefined;
  const packed = b.make(
    pack,
    own.map((o) => o.value),
    { offsets: own.map((o) => o.at), total },
    "stored",
  );
  const rows = own.map(({ at, value }): Rows => {
    const n = asConst(value.type.shape[0]) as number;
    return [at / row, Math.ceil((at + n) / row)];
  });
  return { rows, value: cast(b, packed, dtype) };
}

/** The parameters of one dtype in a step. */
interface Group {
  readonly flat: FlatParams;
  /** f32, in the places of the parameters; zero between. */
  readonly gradient: Value;
  readonly param: Value;
  readonly moments: readonly { readonly path: string; readonly old: Value }[];
}
/** What an optimiser makes of a group, before it is gated. */
interface Update {
  readonly moments: readonly Value[];
  readonly param: Value;
}
const momentumOf = (opt: CheckedTrain["optimizer"]): number => Number(opt.args.momentum ?? 0);

/** Gradients limited, by value or by the norm of all of them. */
function clipping(
  b: Builder,
  clip: NonNullable<CheckedTrain["clip"]>,
  groups: readonly Group[],
): (g: Value) => Value {
  const { limit } = clip;
  if (clip.by === "value") return (g) => maximum(b, minimum(b, g, fill(b, limit)), fill(b, -limit));
  const squares = groups.map((g) => {
    const partial = sum(b, square(b, reshape(b, g.gradient, [dim(GRAIN), dim(g.flat.total / GRAIN)])), [1]);
    return sum(b, partial, [0]);
  });
  const norm = sqrt(
    b,
    squares.reduce((x, y) => add(b, x, y)),
  );
  // torch.nn.utils.clip_grad_norm_: max_norm / (norm + 1e-6), at most 1.
  const factor = minimum(b, div(b, fill(b, limit), add(b, norm, 1e-6)), fill(b, 1));
  return (g) => mul(b, g, broadcastTo(b, factor, g.type.shape));
}

const fill = (
  b: Builder,
  value: number,
  shape: readonly number[] = [],
  dtype: "f32" | "i32" = "f32",
): Value => b.make(full, [], { value, dtype, shape: shape.map((n) => dim(n)) });
const finite = (b: Builder, x: Value): Value => b.make(isFiniteOp, [x]);
