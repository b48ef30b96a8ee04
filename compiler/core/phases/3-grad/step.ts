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
import {
  blockEntry,
  type CheckedModel,
  type CheckedTrain,
  GRAD_NORM,
  swapName,
  type UpdateRule,
} from "../../model.ts";
import { broadcastTo, cast, reshape, sum } from "../../ops/axes.ts";
import { APART, pack } from "../../ops/copy.ts";
import { isFloat } from "../../ops/define.ts";
import {
  abs,
  add,
  and,
  div,
  eq,
  floorDiv,
  ge,
  gt,
  isFiniteOp,
  lt,
  maximum,
  minimum,
  mul,
  not,
  or,
  rem,
  sqrt,
  square,
  where,
} from "../../ops/elementwise.ts";
import { type FlatParams, inRows, type ParamUse, type Rows } from "../../ops/flat.ts";
import { sliceAxis } from "../../ops/movement.ts";
import { full, GRAIN, hyper, param, RANDOM_STEP, RUN, state } from "../../ops/source.ts";
import { type Formula, formulaOf } from "./alike.ts";
import { ElementRule, stepWhole } from "./rule.ts";

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
  /** Exchanges the parameters and their averages. */
  readonly swap?: Graph;
}
/** Buffers of f32 that lie one after the other, as one state tensor; places in elements from `offset` (bytes). */
export interface BufferRun {
  readonly path: string;
  readonly offset: number;
  readonly total: number;
  readonly members: readonly { readonly path: string; readonly at: number }[];
}
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
  const scale = train.lossScale === undefined ? undefined : scaleOf(b, train.name);
  const from = scale ? cast(b, loss, "f32") : loss;
  const grads = backward(
    b,
    [from],
    [scale ?? b.make(full, [], { value: 1, dtype: loss.type.dtype, shape: [] })],
    paths.map((p) => leaves.get(p) as Value),
  );
  const plain = (g: Value): Value =>
    scale ? div(b, cast(b, g, "f32"), broadcastTo(b, scale, g.type.shape)) : g;
  const reached = new Map(paths.flatMap((p, i) => (grads[i] ? [[p, plain(grads[i])] as const] : [])));
  return { b, loss, reached };
}
/** What the loss is multiplied by while gradients are computed, where these would leave f16's range. */
const scaleOf = (b: Builder, block: string): Value =>
  b.make(state, [], { path: `${block}.loss_scale`, dtype: "f32", shape: [] }, "loss_scale");
/** As torch.amp.GradScaler: doubled after so many good steps, halved by a bad one; kept within what f32 divides by. */
const SCALE = { first: 2 ** 16, grows: 2000, least: 1, most: 2 ** 24 };

/** For targets where a step's gradients are stored as f16. All targets have the scale, since they share a state. */
export const withLossScales = (model: CheckedModel): CheckedModel => ({
  ...model,
  trains: model.trains.map((t) =>
    t.rules.length === 0 ? t : { ...t, lossScale: t.lossScale ?? SCALE.first },
  ),
});
/** What the step does with each parameter. */
export function useOf(train: CheckedTrain, { reached }: Gradients): ParamUse {
  const trained = new Map<string, { rule: number; group: number }>();
  train.rules.forEach(({ groups }, rule) => {
    groups.forEach(({ paths }, group) => {
      for (const path of paths) if (reached.has(path)) trained.set(path, { rule, group });
    });
  });
  return { block: train.name, trained };
}

/** The graph of a block that updates nothing: the loss, the reports and the gradients by path, in train mode. */
export function gradientsGraph(train: CheckedTrain, { b, loss, reached }: Gradients): Graph {
  const { lossGraph } = train;
  const squares = [...reached.values()].map((g) => sum(b, square(b, cast(b, g, "f32"))));
  const norm =
    train.reports.includes(GRAD_NORM) &&
    sqrt(
      b,
      squares.reduce((x, y) => add(b, x, y)),
    );
  return finishGraph({
    name: blockEntry(train),
    inputs: lossGraph.inputs,
    results: [
      { name: "loss", value: loss },
      ...lossGraph.results.filter((r) => train.reports.includes(r.name)),
      ...(norm ? [{ name: GRAD_NORM, value: norm }] : []),
      ...[...reached].map(([name, value]) => ({ name, value })),
    ],
    writes: lossGraph.writes,
    symbols: lossGraph.symbols,
    constraints: lossGraph.constraints,
    indexes: lossGraph.indexes,
  });
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
  const each = train.accumulate ?? 1;
  const hypers = hypersOf(train.rules, each);
  const names = Object.keys(hypers);
  const scalars = names.length > 0 ? b.make(hyper, [], { names }, "schedule") : undefined;
  /** A number of the host's, or one that is known. */
  const host = (expr: HostExpr): Value => {
    if (typeof expr === "number") return fill(b, expr);
    const at = names.indexOf(hostText(expr));
    return reshape(b, sliceAxis(b, scalars as Value, 0, at, 1), []);
  };

  // Flat gradients, in f32 whatever the parameters are.
  const states: StepState[] = [];
  const kept = (name: string, shape: readonly number[], init: Init): Kept => {
    const path = `${train.name}.${name}`;
    states.push({ path, dtype: "f32", shape, init });
    return { path, old: b.make(state, [], { path, dtype: "f32", shape: shape.map((n) => dim(n)) }, name) };
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
  // Where several calls make an update, its number is that of the update, and only the last of them makes it.
  const steps32 = cast(b, each === 1 ? count : add(b, floorDiv(b, steps, each), 1), "f32");
  const isLast = each === 1 ? undefined : eq(b, rem(b, count, each), 0);
  const sums: (Kept & { readonly next: Value })[] = [];
  const groups = flats.flatMap((flat): Group[] => {
    const rule = train.rules[flat.rule];
    const list = [...reached].filter(([path]) => rule.groups.some((g) => g.paths.includes(path)));
    const own = list.filter(([path]) => flat.offsets.has(path));
    if (own.length === 0) return [];
    const packed = b.make(
      pack,
      own.map(([, g]) => cast(b, reshape(b, g, [product(g.type.shape)]), "f32")),
      { offsets: own.map(([path]) => flat.offsets.get(path) as number), total: flat.total },
      "gradients",
    );
    const { path, dtype, total } = flat;
    let gradient = packed;
    if (each > 1) {
      const sum = kept(`gradient_sum${flat.suffix}`, [total], { kind: "constant", value: 0 });
      const next = add(b, sum.old, packed);
      sums.push({ ...sum, next });
      gradient = mul(b, next, 1 / each);
    }
    const leaf = b.make(param, [], { path, dtype, shape: [dim(total)] }, "parameters");
    return [{ flat, rule, paths: own.map(([p]) => p), gradient, param: leaf }];
  });
  const norm = train.clip?.by === "norm" || train.reports.includes(GRAD_NORM) ? normOf(b, groups) : undefined;
  const clip = train.clip && clipping(b, train.clip, norm);
  const clipped = (g: Value): Value => (clip ? clip(g) : g);
  const averages: { readonly group: Group; readonly average: Kept }[] = [];
  const updates = groups.map((g): Updated => {
    const update = g.rule.elementwise ? elementUpdate : wholeUpdate;
    const gradient = (path: string): Value => {
      const own = reached.get(path) as Value;
      return each === 1 ? own : memberOf(b, g, path, g.gradient, own.type.shape);
    };
    const updated = update(b, g, { kept, host, step: steps32, clipped, gradient });
    const limited = withinNorms(
      b,
      g,
      updated,
      train.maxNorm,
      (path) => (reached.get(path) as Value).type.shape,
    );
    if (train.ema === undefined) return limited;
    const average = kept(`ema${g.flat.suffix}`, [g.flat.total], { kind: "constant", value: 0 });
    averages.push({ group: g, average });
    return averaging(b, limited, average, train.ema, eq(b, steps32, 1));
  });

  const flatten = (v: Value): Value => cast(b, reshape(b, v, [product(v.type.shape)]), "f32");
  const isFine = (v: Value): Value => sum(b, isBad(finite(b, flatten(v))), [0]);
  // Parameters that the loss stores into (a target network, an average): none of them is trained by this block.
  const stored = lossGraph.writes.filter((w) => w.path !== RANDOM_STEP && !buffers.has(w.path));
  // The finite flag: anything bad in the loss, the gradients, or what would be written.
  const isBad = (ok: Value): Value => cast(b, not(b, ok), "f32");
  let bad = isBad(finite(b, loss));
  for (const [i, g] of groups.entries()) {
    const { row, total } = g.flat;
    const shape = [dim(GRAIN), dim(total / GRAIN / row), dim(row)];
    const next = updates[i].over(shape);
    const checked = [reshape(b, g.gradient, shape), ...next.states.map((s) => s.next), next.param].map((v) =>
      finite(b, v),
    );
    if (g.flat.dtype === "f16") checked.push(lt(b, abs(b, next.param), F16_END));
    // What lies between trained parameters is not looked at.
    const others = g.flat.trained && not(b, inRows(b, g.flat.trained, shape));
    const fine = checked.reduce((x, y) => and(b, x, y));
    const looked = others ? or(b, fine, others) : fine;
    const perRow = sum(b, isBad(looked), [1, 2]);
    bad = add(b, bad, sum(b, perRow, [0]));
    for (const s of updates[i].apart) bad = add(b, bad, isFine(s.next));
  }
  const buffered = lossGraph.writes.filter((w) => w.path !== RANDOM_STEP && buffers.has(w.path));
  for (const w of stored) bad = add(b, bad, isFine(w.value));
  const offsetOf = (path: string): number => buffers.get(path) as number;
  const floats = buffered
    .filter((w) => isFloat(w.value.type.dtype) && !isConst(product(w.value.type.shape), 0))
    .sort((x, y) => offsetOf(x.path) - offsetOf(y.path));
  const sizeOf = (w: { readonly value: Value }): number =>
    apart(asConst(product(w.value.type.shape)) as number);
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
  /** Whether the update is made: where the step is good, and the last of those that make one. */
  const made = isLast ? and(b, ok, isLast) : ok;

  const writes: { path: string; value: Value }[] = [];
  const gate = (next: Value, old: Value): Value => where(b, broadcastTo(b, ok, next.type.shape), next, old);
  const update = (next: Value, old: Value): Value =>
    where(b, broadcastTo(b, made, next.type.shape), next, old);
  for (const [i, g] of groups.entries()) {
    const shape = [dim(g.flat.total / g.flat.row), dim(g.flat.row)];
    const next = updates[i].over(shape);
    // What is stored between trained parameters is written with them.
    const beside = storedIn(b, g.flat, stored, flatten);
    const commit = (path: string, value: Value, old: Value): void => {
      const before = reshape(b, old, shape);
      let after = g.flat.trained ? where(b, inRows(b, g.flat.trained, shape), value, before) : value;
      if (beside && path === g.flat.path) {
        const rows = inRows(b, beside.rows, shape);
        const given = reshape(b, beside.value, shape);
        // What is stored is stored by each call, whether it makes an update or not.
        after = isLast
          ? where(b, rows, gate(given, before), update(after, before))
          : gate(where(b, rows, given, after), before);
      } else after = update(after, before);
      writes.push({ path, value: reshape(b, after, [dim(g.flat.total)]) });
    };
    for (const s of next.states) commit(s.path, s.next, s.old);
    commit(g.flat.path, cast(b, next.param, g.flat.dtype), g.param);
    for (const s of updates[i].apart) writes.push({ path: s.path, value: update(s.next, s.old) });
  }

  for (const s of sums) {
    const empty = fill(b, 0, [Number(s.old.type.shape[0].key)]);
    const next = where(b, broadcastTo(b, isLast as Value, s.next.type.shape), empty, s.next);
    writes.push({ path: s.path, value: gate(next, s.old) });
  }
  writes.push({ path: `${train.name}.step`, value: gate(count, steps) });
  let isBadStep = not(b, ok);
  let number = count;
  if (train.lossScale !== undefined) {
    const { path, old: scale } = kept("loss_scale", [], { kind: "constant", value: train.lossScale });
    const good = counter("scaled_steps");
    const more = add(b, good, 1);
    const grown = eq(b, more, SCALE.grows);
    const up = where(b, grown, minimum(b, mul(b, scale, 2), fill(b, SCALE.most)), scale);
    const down = maximum(b, mul(b, scale, 0.5), fill(b, SCALE.least));
    writes.push({ path, value: where(b, ok, up, down) });
    writes.push({
      path: `${train.name}.scaled_steps`,
      value: where(b, and(b, ok, not(b, grown)), more, fill(b, 0, [], "i32")),
    });
    // Gradients that overflow are passed over: the next scale is smaller. Where none would be, the step is bad.
    const none = or(b, not(b, finite(b, loss)), not(b, gt(b, scale, fill(b, SCALE.least))));
    isBadStep = and(b, isBadStep, none);
    // So not all calls before a bad step were good, and they are counted for its number.
    number = add(b, counter("calls"), 1);
    writes.push({ path: `${train.name}.calls`, value: number });
  }
  const isFirst = and(b, eq(b, firstBad, 0), isBadStep);
  const nextBad = where(b, isFirst, number, firstBad);
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
    const next = sliceAxis(b, written as Value, 0, at, run.total);
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
      value: figure(lossGraph.results.find((r) => r.name === name)?.value ?? sqrt(b, norm as Value)),
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
    ...(averages.length > 0 ? { swap: swapOf(train.name, averages, each) } : {}),
  };
}

/** The entry that exchanges the parameters and their averages, once there are averages. */
function swapOf(
  block: string,
  averages: readonly { readonly group: Group; readonly average: Kept }[],
  each: number,
): Graph {
  const b = createBuilder();
  const steps = b.make(state, [], { path: `${block}.step`, dtype: "i32", shape: [] }, "step");
  const begun = ge(b, steps, each);
  const writes = averages.flatMap(({ group: { flat }, average: { path } }) => {
    const shape = [dim(flat.total / flat.row), dim(flat.row)];
    const whole = [dim(flat.total)];
    const own = b.make(param, [], { path: flat.path, dtype: flat.dtype, shape: whole }, "parameters");
    const mean = b.make(state, [], { path, dtype: "f32", shape: whole }, "ema");
    let swapped = broadcastTo(b, begun, shape);
    if (flat.trained) swapped = and(b, swapped, inRows(b, flat.trained, shape));
    const [p, m] = [reshape(b, own, shape), reshape(b, mean, shape)];
    const next = where(b, swapped, cast(b, m, flat.dtype), p);
    const left = where(b, swapped, cast(b, p, "f32"), m);
    return [
      { path: flat.path, value: reshape(b, next, whole) },
      { path, value: reshape(b, left, whole) },
    ];
  });
  return finishGraph({ name: swapName(block), inputs: [], results: [], writes, symbols: [] });
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

/** Parameters that are updated as one tensor. */
interface Group {
  readonly flat: FlatParams;
  readonly rule: UpdateRule;
  /** Of the trained, in the order of the model. */
  readonly paths: readonly string[];
  /** f32, in the places of the parameters; zero between. */
  readonly gradient: Value;
  readonly param: Value;
}
/** A state tensor before the step. */
interface Kept {
  readonly path: string;
  readonly old: Value;
}
/** What a step would make of a group, before it is gated. */
interface Updated {
  /** In places of the parameters, over a shape of rows. */
  over(shape: readonly Dim[]): {
    readonly param: Value;
    readonly states: readonly (Kept & { readonly next: Value })[];
  };
  /** What is kept beside, in no places of parameters. */
  readonly apart: readonly (Kept & { readonly next: Value })[];
}
/** What updates have of the step. */
interface Around {
  kept(name: string, shape: readonly number[], init: Init): Kept;
  host(expr: HostExpr): Value;
  readonly step: Value;
  clipped(gradient: Value): Value;
  /** Of a parameter, in its own shape and dtype. */
  gradient(path: string): Value;
}

/** A rule of elements: over all parameters of the group at once. */
function elementUpdate(b: Builder, g: Group, { kept, host, step, clipped }: Around): Updated {
  const { flat, rule } = g;
  const graph = rule.graphs.get("") as Graph;
  // Of the group of each number: those that differ are chosen by row.
  const own = rule.groups.slice(0, flat.groups.length);
  const numbersOf = (name: string): readonly HostExpr[] => own.map((x) => x.numbers[name]);
  const same = (list: readonly HostExpr[]): boolean =>
    new Set(list.flatMap((x, i) => (isIn(flat.groups[i]) ? [hostText(x)] : []))).size <= 1;
  const names = Object.keys(own[0].numbers);
  const elements = new ElementRule(
    graph,
    names.filter((n) => !same(numbersOf(n))),
  );
  const one = flat.groups.findIndex(isIn);
  const states = new Map(
    rule.states.map(({ name, init }) => [
      name,
      kept(name + flat.suffix, elements.ofElements.has(name) ? [flat.total] : [], init),
    ]),
  );
  const oldOf = (name: string): Value => (states.get(name) as Kept).old;
  const isNumber = (name: string): boolean => names.includes(name);
  const spread = elements.with(b, (name) =>
    name === "step" ? step : isNumber(name) ? host(own[one].numbers[name]) : oldOf(name),
  );
  return {
    over(shape) {
      const over = (v: Value): Value => reshape(b, v, shape);
      const byRow = (name: string): Value =>
        numbersOf(name)
          .map((x) => broadcastTo(b, host(x), shape))
          .reduceRight((rest, v, i) => {
            const rows = flat.groups[i];
            return rows ? where(b, inRows(b, rows, shape), v, rest) : v;
          });
      const { param, states: next } = spread.over(shape, (name) =>
        name === "param"
          ? cast(b, over(g.param), "f32")
          : name === "grad"
            ? clipped(over(g.gradient))
            : isNumber(name)
              ? byRow(name)
              : over(oldOf(name)),
      );
      return {
        param,
        states: [...next].map(([name, value]) => ({ ...(states.get(name) as Kept), next: value })),
      };
    },
    apart: [...spread.numbers].map(([name, next]) => ({ ...(states.get(name) as Kept), next })),
  };
}
/** Whether a group has rows at all. */
const isIn = (rows: readonly Rows[] | undefined): boolean => rows === undefined || rows.length > 0;

/** A rule of whole parameters: of each by itself, then side by side. */
function wholeUpdate(b: Builder, g: Group, around: Around): Updated {
  const { flat, rule, paths } = g;
  const graphs = paths.map((path) => {
    const shape = around.gradient(path).type.shape;
    return rule.graphs.get(shape.map((d) => d.key).join()) as Graph;
  });
  const shapesOf = (name: string): Dim[][] =>
    graphs.map((graph) => {
      const written = graph.writes.find((w) => w.path === name)?.value.type.shape;
      return [...(written ?? [])];
    });
  // A state tensor has those of all parameters, each at a multiple of 256 bytes.
  const states = rule.states.map(({ name, init }) => {
    const shapes = shapesOf(name);
    const sizes = shapes.map((s) => asConst(product(s)) as number);
    const at = sizes.map((_, i) => sizes.slice(0, i).reduce((n, size) => n + apart(size), 0));
    const total = sizes.reduce((n, size) => n + apart(size), 0);
    return { name, shapes, sizes, at, total, ...around.kept(name + flat.suffix, [total], init) };
  });
  const stepped = paths.map((path, i) => {
    const gradient = around.gradient(path);
    const { shape } = gradient.type;
    const group = rule.groups.find((x) => x.paths.includes(path)) as UpdateRule["groups"][number];
    return stepWhole(b, graphs[i], (name) => {
      if (name === "param") return cast(b, b.make(param, [], { path, dtype: flat.dtype, shape }), "f32");
      if (name === "grad") return around.clipped(cast(b, gradient, "f32"));
      if (name === "step") return around.step;
      if (Object.hasOwn(group.numbers, name)) return around.host(group.numbers[name]);
      const s = states.find((x) => x.name === name) as (typeof states)[number];
      return reshape(b, sliceAxis(b, s.old, 0, s.at[i], s.sizes[i]), s.shapes[i]);
    });
  });
  const flatten = (v: Value): Value => reshape(b, v, [product(v.type.shape)]);
  const next = b.make(
    pack,
    stepped.map((s) => flatten(s.param)),
    { offsets: paths.map((p) => flat.offsets.get(p) as number), total: flat.total },
    "updated",
  );
  return {
    over: (shape) => ({ param: reshape(b, next, shape), states: [] }),
    apart: states.map(({ name, at, total, path, old }) => {
      const values = stepped.map((s) => flatten(s.states.get(name) as Value));
      return { path, old, next: b.make(pack, values, { offsets: at, total }, name) };
    }),
  };
}
/** A parameter's part of a flat value, in its own shape. */
const memberOf = (b: Builder, { flat }: Group, path: string, all: Value, shape: readonly Dim[]): Value =>
  reshape(b, sliceAxis(b, all, 0, flat.offsets.get(path) as number, product(shape)), shape);

/** Rows of the next parameters (what the first axis counts) are no longer than they may be: torch.renorm. */
function withinNorms(
  b: Builder,
  g: Group,
  updated: Updated,
  limits: CheckedTrain["maxNorm"],
  shapeOf: (path: string) => readonly Dim[],
): Updated {
  const { flat } = g;
  const own = limits.flatMap(({ limit, paths }) =>
    paths.filter((p) => g.paths.includes(p)).map((path) => ({ path, limit })),
  );
  if (own.length === 0) return updated;
  const flatShape = [dim(flat.total / flat.row), dim(flat.row)];
  const next = reshape(b, updated.over(flatShape).param, [dim(flat.total)]);
  own.sort((x, y) => (flat.offsets.get(x.path) as number) - (flat.offsets.get(y.path) as number));
  const limited = own.map(({ path, limit }) => {
    const shape = shapeOf(path);
    const rows = [shape[0], product(shape.slice(1))];
    const p = memberOf(b, g, path, next, rows);
    const norm = sqrt(b, sum(b, square(b, p), [1], true));
    const factor = where(b, gt(b, norm, limit), div(b, fill(b, limit), add(b, norm, 1e-7)), fill(b, 1));
    return reshape(b, mul(b, p, broadcastTo(b, factor, rows)), [product(shape)]);
  });
  const offsets = own.map(({ path }) => flat.offsets.get(path) as number);
  const packed = b.make(pack, limited, { offsets, total: flat.total }, "limited");
  const rows = limited.map((v, i): Rows => {
    const end = offsets[i] + (asConst(v.type.shape[0]) as number);
    return [offsets[i] / flat.row, Math.ceil(end / flat.row)];
  });
  return {
    ...updated,
    over(shape) {
      const { param, states } = updated.over(shape);
      return { param: where(b, inRows(b, rows, shape), reshape(b, packed, shape), param), states };
    },
  };
}

/** An average of the parameters beside them: the first step's parameters at first. */
function averaging(b: Builder, updated: Updated, average: Kept, decay: number, isFirst: Value): Updated {
  return {
    ...updated,
    over(shape) {
      const { param, states } = updated.over(shape);
      const old = reshape(b, average.old, shape);
      const mean = add(b, mul(b, old, decay), mul(b, param, 1 - decay));
      const next = where(b, broadcastTo(b, isFirst, shape), param, mean);
      return { param, states: [...states, { ...average, next }] };
    },
  };
}
const apart = (size: number): number => Math.ceil(size / APART) * APART;

/** The host's numbers by name, in the order of their evaluation: what a caller may give, then what is computed of it. */
function hypersOf(rules: readonly UpdateRule[], each: number): Record<string, HostExpr> {
  const out: Record<string, HostExpr> = {};
  // What a schedule asks the caller for is 0 where nothing is said (plateaus). The rate of the block comes next: others may be
  // a part of it.
  const known = new Set(["step", "total_steps", ...rules.flatMap((r) => Object.keys(r.hyper))]);
  for (const name of rules.flatMap((r) => Object.values(r.hyper).flatMap(namesIn)))
    if (!known.has(name)) out[name] = 0;
  for (const rule of rules) if (Object.hasOwn(rule.hyper, "lr")) out.lr = rule.hyper.lr;
  for (const rule of rules) Object.assign(out, rule.hyper);
  for (const rule of rules)
    for (const { numbers } of rule.groups)
      for (const expr of Object.values(numbers)) if (typeof expr === "object") out[hostText(expr)] = expr;
  if (each === 1) return out;
  // Schedules follow updates: so many calls are one.
  const counted = (e: HostExpr): HostExpr =>
    e === "step" || e === "total_steps"
      ? ["floor", ["/", e, each]]
      : typeof e === "object"
        ? [e[0], ...e.slice(1).map(counted)]
        : e;
  return Object.fromEntries(Object.entries(out).map(([name, e]) => [name, counted(e)]));
}
const namesIn = (e: HostExpr): string[] =>
  typeof e === "string" ? [e] : typeof e === "object" ? e.slice(1).flatMap(namesIn) : [];
/** A number of the host's as it is called: `1 - lr * 0.01`. */
function hostText(expr: HostExpr): string {
  if (typeof expr !== "object") return String(expr);
  const [name, ...args] = expr;
  const inner = args.map(hostText);
  if (!/^\W/.test(name) || args.length !== 2) return `${name}(${inner.join(", ")})`;
  const wrapped = args.map((a, i) =>
    typeof a === "object" && /^\W/.test(a[0]) && a[0] !== "*" ? `(${inner[i]})` : inner[i],
  );
  return wrapped.join(` ${name} `);
}

/** The norm of all gradients, squared. */
function normOf(b: Builder, groups: readonly Group[]): Value {
  const squares = groups.map((g) => {
    const partial = sum(b, square(b, reshape(b, g.gradient, [dim(GRAIN), dim(g.flat.total / GRAIN)])), [1]);
    return sum(b, partial, [0]);
  });
  return squares.reduce((x, y) => add(b, x, y));
}
/** Gradients limited, by value or by the norm of all of them. */
function clipping(
  b: Builder,
  clip: NonNullable<CheckedTrain["clip"]>,
  squared: Value | undefined,
): (g: Value) => Value {
  const { limit } = clip;
  if (clip.by === "value" || !squared)
    return (g) => maximum(b, minimum(b, g, fill(b, limit)), fill(b, -limit));
  const norm = sqrt(b, squared);
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
